/** A server of Pusher protocol 7 that refuses whatever the protocol does not allow. */

import { createHmac } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

export const APP = { key: "app-key", secret: "app-secret" };

const PING_MS = 200;
/** Rounds of the above after which who has said nothing is closed. */
export const SILENT_ROUNDS_MAX = 15;
const CHANNEL = /^[A-Za-z0-9_\-=@,.;]{1,200}$/;

export interface StrictPusherOptions {
  /** Whether it pings by itself; else it only waits for its clients to say something. */
  readonly pings?: boolean;
  /** Client events of one connection; further ones are refused. */
  readonly clientEventsMax?: number;
}

export interface StrictPusher {
  /** With the app's key. */
  readonly url: string;
  /** Codes with which it closed connections. */
  readonly closed: readonly number[];
  /** Channels that were subscribed to. */
  readonly channels: readonly string[];
  /** Of all its connections together. */
  readonly rounds: number;
  readonly pings: number;
  readonly pongs: number;
  stop(): Promise<void>;
}

interface ClientFrame {
  readonly event: string;
  readonly channel?: string;
  readonly data?: { readonly channel?: string; readonly auth?: string };
}

export async function startStrictPusher(options: StrictPusherOptions = {}): Promise<StrictPusher> {
  const { pings = true, clientEventsMax = Infinity } = options;
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const channels = new Map<string, Set<Connection>>();
  const closed: number[] = [];
  const count = { connections: 0, rounds: 0, pings: 0, pongs: 0 };

  class Connection {
    readonly #socket: WebSocket;
    readonly #id = `${++count.connections}.${1000 + count.connections}`;
    readonly #timer: NodeJS.Timeout;
    #silentRounds = 0;
    #events = 0;

    constructor(socket: WebSocket) {
      this.#socket = socket;
      socket.on("message", (data: Buffer) => {
        this.#silentRounds = 0;
        this.#take(JSON.parse(data.toString()) as ClientFrame);
      });
      socket.on("close", () => {
        clearInterval(this.#timer);
        for (const members of channels.values()) members.delete(this);
      });
      // A second is the least that the greeting can say.
      const greeting = JSON.stringify({ socket_id: this.#id, activity_timeout: 1 });
      this.#say({ event: "pusher:connection_established", data: greeting });
      this.#timer = setInterval(() => {
        count.rounds++;
        if (++this.#silentRounds > SILENT_ROUNDS_MAX) return this.#close(4201, "no pong");
        if (!pings) return;
        count.pings++;
        this.#say({ event: "pusher:ping", data: "{}" });
      }, PING_MS);
    }

    deliver(event: string, channel: string, data: unknown): void {
      this.#say({ event, channel, data: JSON.stringify(data) });
    }

    #take({ event, channel, data }: ClientFrame): void {
      if (event === "pusher:pong") count.pongs++;
      else if (event === "pusher:ping") this.#say({ event: "pusher:pong", data: "{}" });
      else if (event === "pusher:subscribe") this.#subscribe(data?.channel ?? "", data?.auth);
      else if (event.startsWith("client-")) this.#publish(event, channel ?? "", data);
      else this.#error(4009, `unknown event ${event}`);
    }

    #subscribe(channel: string, auth: string | undefined): void {
      const signed = `${this.#id}:${channel}`;
      const signature = createHmac("sha256", APP.secret).update(signed).digest("hex");
      const wanted = channel.startsWith("private-") ? `${APP.key}:${signature}` : "";
      if (!CHANNEL.test(channel) || auth !== wanted) {
        const refusal = { type: "AuthError", error: "The connection is unauthorized.", status: 401 };
        return this.#say({ event: "pusher:subscription_error", channel, data: refusal });
      }
      const members = channels.get(channel) ?? new Set();
      channels.set(channel, members.add(this));
      this.#say({ event: "pusher_internal:subscription_succeeded", channel, data: "{}" });
    }

    #publish(event: string, channel: string, data: unknown): void {
      const members = channels.get(channel);
      if (!channel.startsWith("private-") || members?.has(this) !== true)
        return this.#error(4009, "not a member of a private channel");
      if (typeof data !== "object" || data === null) return this.#error(4009, "data is not an object");
      if (++this.#events > clientEventsMax) return this.#error(4301, "too many client events");
      for (const member of members) if (member !== this) member.deliver(event, channel, data);
    }

    #error(code: number, message: string): void {
      this.#say({ event: "pusher:error", data: JSON.stringify({ code, message }) });
    }

    #say(frame: object): void {
      if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(frame));
    }

    #close(code: number, reason: string): void {
      closed.push(code);
      this.#socket.close(code, reason);
    }
  }

  server.on("connection", (socket, request) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "ws://127.0.0.1");
    const refuse = (code: number, message: string): void => {
      closed.push(code);
      socket.send(JSON.stringify({ event: "pusher:error", data: JSON.stringify({ code, message }) }));
      socket.close(code);
    };
    if (pathname !== `/app/${APP.key}`) refuse(4001, `no app has the key ${pathname.slice("/app/".length)}`);
    else if (searchParams.get("protocol") !== "7") refuse(4007, "unsupported protocol");
    else new Connection(socket);
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/app/${APP.key}`,
    closed,
    get channels() {
      return [...channels.keys()];
    },
    get rounds() {
      return count.rounds;
    },
    get pings() {
      return count.pings;
    },
    get pongs() {
      return count.pongs;
    },
    async stop() {
      for (const socket of server.clients) socket.terminate();
      server.close();
      await once(server, "close");
    },
  };
}
