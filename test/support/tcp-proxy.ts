/** A TCP proxy that a test can break: half-open links, cuts and delays between a client and a server. */

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

export interface TcpProxy {
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Bytes of either direction vanish, connections stay; `match` picks connections by what the client sent first. */
  blackhole(match?: (firstBytes: string) => boolean): void;
  /** What the server answers vanishes, what the client sends arrives; `match` as above. */
  dropReplies(match?: (firstBytes: string) => boolean): void;
  /** At most this many bytes a second pass in each direction of a connection, in order; `match` as above. */
  throttle(bytesPerSecond: number, match?: (firstBytes: string) => boolean): void;
  /** New bytes pass again, at full speed; what vanished stays lost. */
  restore(): void;
  /** Resets every connection. */
  cut(): void;
  /** Each chunk of either direction waits this long, in order, on connections that `match` picks. */
  delay(ms: number, match?: (firstBytes: string) => boolean): void;
  /** Where connections made from now on lead. */
  retarget(port: number): void;
  close(): Promise<void>;
}

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  /** The beginning of what the client sent, as text. */
  sent: string;
  blackholed: boolean;
  repliesDropped: boolean;
  delayMs: number;
  bytesPerSecond: number;
}

const REMEMBERED_BYTES = 2_048;

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const links = new Set<Link>();
  /** Of links too whose other side is gone: a blackhole hides that. */
  const clients = new Set<Socket>();
  let target = targetPort;
  /** New connections while this is set are blackholed from the start. */
  let holeForAll = false;

  const listener = createServer((client) => {
    const server = connect(target, "127.0.0.1");
    const link: Link = {
      client,
      server,
      sent: "",
      blackholed: holeForAll,
      repliesDropped: false,
      delayMs: 0,
      bytesPerSecond: Infinity,
    };
    links.add(link);
    clients.add(client);
    client.on("close", () => clients.delete(client));
    client.on("data", (chunk) => {
      if (link.sent.length < REMEMBERED_BYTES) link.sent += chunk.toString("latin1");
      forward(link, server, chunk);
    });
    server.on("data", (chunk) => forward(link, client, chunk));
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.setNoDelay(true);
      socket.on("error", () => undefined); // "close" follows
      socket.on("close", () => {
        links.delete(link);
        if (!link.blackholed) other.destroy();
        else if (socket === client) server.destroy();
      });
    }
  });

  /** By receiving socket: the last chunk that waits, so that none overtakes another. */
  const waiting = new WeakMap<Socket, Promise<void>>();

  function forward(link: Link, to: Socket, chunk: Buffer): void {
    if (link.blackholed || (link.repliesDropped && to === link.client)) return;
    const before = waiting.get(to);
    const throttledMs = (chunk.length / link.bytesPerSecond) * 1_000;
    if (link.delayMs === 0 && throttledMs === 0 && before === undefined) {
      to.write(chunk);
      return;
    }
    const due = delay(link.delayMs, undefined, { ref: false });
    const written = Promise.all([before, due]).then(async () => {
      if (throttledMs > 0) await delay(throttledMs, undefined, { ref: false });
      if (!to.destroyed) to.write(chunk);
      if (waiting.get(to) === written) waiting.delete(to);
    });
    waiting.set(to, written);
  }

  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");

  return {
    port: (listener.address() as AddressInfo).port,
    get connections() {
      return links.size;
    },
    blackhole(match) {
      holeForAll = match === undefined;
      for (const link of links) if (match === undefined || match(link.sent)) link.blackholed = true;
    },
    dropReplies(match) {
      for (const link of links) if (match === undefined || match(link.sent)) link.repliesDropped = true;
    },
    throttle(bytesPerSecond, match) {
      for (const link of links)
        if (match === undefined || match(link.sent)) link.bytesPerSecond = bytesPerSecond;
    },
    restore() {
      holeForAll = false;
      for (const link of links) {
        link.blackholed = false;
        link.repliesDropped = false;
        link.bytesPerSecond = Infinity;
      }
    },
    cut() {
      for (const client of clients) client.resetAndDestroy();
      for (const { server } of links) server.destroy();
    },
    delay(ms, match) {
      for (const link of links) if (match === undefined || match(link.sent)) link.delayMs = ms;
    },
    retarget(port) {
      target = port;
    },
    async close() {
      for (const client of clients) client.destroy();
      for (const { server } of links) server.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}
