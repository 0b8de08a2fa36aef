/** WebSockets of attackers: as little of a client as a server accepts, so that what they cost is the server's. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { OPCODE, clientFrame } from "../load/framing.js";

const KEY = "c3RhcmxpbmcgYmVuY2ggMQ==";

export interface Dial {
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string | undefined;
}

/** Upgraded; what the server sends is thrown away. @throws Error with the status line of a refusal */
export async function openWebSocket(dial: Dial, { reads = true } = {}): Promise<Socket> {
  const socket = connect({ host: dial.host, port: dial.port, ...local(dial) });
  socket.on("error", () => socket.destroy());
  socket.setNoDelay(true);
  socket.write(
    `GET / HTTP/1.1\r\nHost: ${dial.host}:${dial.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`,
  );
  const answer = await Promise.race([
    once(socket, "data").then(([chunk]) => (chunk as Buffer).toString("latin1")),
    once(socket, "close").then(() => "closed"),
  ]);
  if (!answer.startsWith("HTTP/1.1 101")) {
    socket.destroy();
    throw new Error(answer.split("\r\n", 1)[0]);
  }
  if (reads) socket.resume();
  else socket.pause();
  return socket;
}

export function openTcp(dial: Dial): Socket {
  const socket = connect({ host: dial.host, port: dial.port, ...local(dial) });
  socket.on("error", () => socket.destroy());
  socket.resume();
  return socket;
}

function local({ localAddress }: Dial): { localAddress?: string } {
  return localAddress === undefined ? {} : { localAddress };
}

export function textFrame(text: string): Buffer {
  return clientFrame(OPCODE.text, Buffer.from(text));
}

/** So many of the same frame in one piece. */
export function repeated(frame: Buffer, bytes: number): Buffer {
  return Buffer.concat(Array.from({ length: Math.max(1, Math.floor(bytes / frame.length)) }, () => frame));
}

/** Resolves once the kernel took it all, or the socket is closed. @returns whether it is still open */
export function writeAll(socket: Socket, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve(!socket.destroyed);
    };
    if (socket.destroyed || socket.write(bytes)) {
      resolve(!socket.destroyed);
      return;
    }
    socket.on("drain", done);
    socket.on("close", done);
  });
}
