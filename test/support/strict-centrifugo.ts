/** A server of Centrifuge protocol v2 (JSON) that closes on whatever the protocol does not allow. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

const PING_MS = 150;
const PONG_MS = 20_000;

export interface StrictCentrifugoOptions {
  /** The only one that is let in; absent: none is asked for. */
  readonly token?: string;
  /** Whether pings want an answer, which is otherwise a violation. */
  readonly pong?: boolean;
}

export interface StrictCentrifugo {
  readonly url: string;
  /** Codes with which it closed connections. */
  readonly closed: readonly number[];
  /** Most lines that one of its frames had, of those with publications. */
  readonly mostInOneFrame: number;
  readonly pings: number;
  readonly pongs: number;
  readonly published: number;
  stop(): Promise<void>;
}

interface Command {
  readonly id?: number;
  readonly connect?: { readonly token?: string };
  readonly subscribe?: { readonly channel: string };
  readonly publish?: { readonly channel: string; readonly data: unknown };
  readonly presence_stats?: { readonly channel: string };
}

export async function startStrictCentrifugo(
  options: StrictCentrifugoOptions = {},
): Promise<StrictCentrifugo> {
  const { token, pong = true } = options;
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", path: "/connection/websocket" });
  await once(server, "listening");
  const channels = new Map<string, Set<Connection>>();
  const closed: number[] = [];
  const count = { mostInOneFrame: 0, pings: 0, pongs: 0, published: 0 };

  class Connection {
    readonly #socket: WebSocket;
    readonly #lines: string[] = [];
    #connected = false;
    /** When each ping without an answer was sent. */
    readonly #unanswered: number[] = [];
    #timer: NodeJS.Timeout | undefined;

    constructor(socket: WebSocket) {
      this.#socket = socket;
      socket.on("message", (data: Buffer, binary) => {
        if (binary) return this.#close(3501, "bad request");
        for (const line of data.toString().split("\n")) this.#take(JSON.parse(line) as Command);
      });
      socket.on("close", () => {
        clearInterval(this.#timer);
        for (const members of channels.values()) members.delete(this);
      });
    }

    /** What is said within one turn goes out as one frame. */
    say(line: object): void {
      if (this.#lines.push(JSON.stringify(line)) > 1) return;
      setImmediate(() => {
        const pushes = this.#lines.filter((each) => each.startsWith('{"push"')).length;
        count.mostInOneFrame = Math.max(count.mostInOneFrame, pushes);
        if (this.#socket.readyState === this.#socket.OPEN)
          this.#socket.send(this.#lines.splice(0).join("\n"));
      });
    }

    #take(command: Command): void {
      if (this.#socket.readyState !== this.#socket.OPEN) return;
      const { id = 0, connect, subscribe, publish, presence_stats: stats } = command;
      if (Object.keys(command).length === 0) return this.#takePong();
      if (id <= 0 || this.#connected !== (connect === undefined)) return this.#close(3501, "bad request");
      if (connect !== undefined) return this.#connect(id, connect.token);
      if (subscribe !== undefined) {
        const members = channels.get(subscribe.channel) ?? new Set();
        channels.set(subscribe.channel, members);
        if (members.has(this)) return this.say({ id, error: { code: 105, message: "already subscribed" } });
        members.add(this);
        this.say({ id, subscribe: {} });
      } else if (publish !== undefined) {
        const { channel, data } = publish;
        count.published++;
        for (const member of channels.get(channel) ?? [])
          member.say({ push: { channel, pub: { data, info: { user: "", client: "c" } } } });
        this.say({ id, publish: {} });
      } else if (stats !== undefined) {
        const size = channels.get(stats.channel)?.size ?? 0;
        this.say({ id, presence_stats: { num_clients: size, num_users: size } });
      } else {
        this.say({ id, error: { code: 104, message: "method not found" } });
      }
    }

    #connect(id: number, given: string | undefined): void {
      if (token !== undefined && given !== token) return this.#close(3500, "invalid token");
      this.#connected = true;
      this.say({ id, connect: { client: "c", version: "0.0.0", ping: 1, ...(pong && { pong }) } });
      this.#timer = setInterval(() => {
        const now = performance.now();
        if (now - (this.#unanswered[0] ?? now) > PONG_MS) return this.#close(3012, "no pong");
        count.pings++;
        if (pong) this.#unanswered.push(now);
        this.say({});
      }, PING_MS);
    }

    #takePong(): void {
      if (this.#unanswered.shift() === undefined) return this.#close(3501, "bad request");
      count.pongs++;
    }

    #close(code: number, reason: string): void {
      closed.push(code);
      this.#socket.close(code, reason);
    }
  }

  server.on("connection", (socket) => new Connection(socket));
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    closed,
    get mostInOneFrame() {
      return count.mostInOneFrame;
    },
    get pings() {
      return count.pings;
    },
    get pongs() {
      return count.pongs;
    },
    get published() {
      return count.published;
    },
    async stop() {
      for (const socket of server.clients) socket.terminate();
      server.close();
      await once(server, "close");
    },
  };
}
