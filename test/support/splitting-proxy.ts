/**
 * A TCP proxy that sends on what a client says in pieces, each in a packet of its own. Loopback never
 * splits what is written at once, networks do: anything above one segment, and anything at all on a
 * slow link. The server under test must live in this process: a turn of its loop lies between two pieces.
 */

import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";

/** Where the bytes of a connection are cut: before the byte at this position, or before each from there on. */
export type Cut = number | { readonly everyByteFrom: number };

export interface SplittingProxy {
  readonly port: number;
  /** Of connections made from now on. */
  cut: Cut;
  close(): Promise<void>;
}

export async function startSplittingProxy(targetPort: number): Promise<SplittingProxy> {
  const sockets = new Set<Socket>();
  let cut: Cut = { everyByteFrom: 0 };
  const listener = createServer((client) => {
    const server = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    const at = cut;
    let passed = 0;
    let sending = Promise.resolve();
    client.on("data", (chunk) => {
      const pieces =
        typeof at === "number" ? halves(chunk, at - passed) : bytesOf(chunk, at.everyByteFrom - passed);
      passed += chunk.length;
      sending = sending.then(() => send(server, pieces));
    });
    client.on("end", () => void sending.then(() => server.end()));
    server.on("data", (chunk) => client.write(chunk));
    server.on("end", () => client.end());
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => undefined); // "close" follows
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    port: (listener.address() as AddressInfo).port,
    get cut() {
      return cut;
    },
    set cut(value) {
      cut = value;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}

function bytesOf(chunk: Buffer, from: number): Buffer[] {
  const whole = Math.min(chunk.length, Math.max(0, from));
  const bytes = Array.from({ length: chunk.length - whole }, (_, i) =>
    chunk.subarray(whole + i, whole + i + 1),
  );
  return whole > 0 ? [chunk.subarray(0, whole), ...bytes] : bytes;
}

function halves(chunk: Buffer, at: number): Buffer[] {
  return at <= 0 || at >= chunk.length ? [chunk] : [chunk.subarray(0, at), chunk.subarray(at)];
}

async function send(socket: Socket, pieces: readonly Buffer[]): Promise<void> {
  if (socket.connecting) await once(socket, "connect").catch(() => undefined);
  for (const piece of pieces) {
    if (socket.destroyed) return;
    await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
    await turn();
  }
}

/** Every socket of this process that has something to read has been read once. */
async function turn(): Promise<void> {
  for (let i = 0; i < 2; i++) await new Promise((resolve) => setImmediate(resolve));
}
