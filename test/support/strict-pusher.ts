/** A server of Pusher protocol 7 that refuses whatever the protocol does not allow. */

import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";

export const APP = { id: "17", key: "app-key", secret: "app-secret" };

const PING_MS = 200;
/** Rounds of the above after which who has said nothing is closed. */
export const SILENT_ROUNDS_MAX = 15;
const CHANNEL = /^[A-Za-z0-9_\-=@,.;]{1,200}$/;

const sign = (text: string): string => createHmac("sha256", APP.secret).update(text).digest("hex");

export interface StrictPusherOptions {
  /** Whether it pings by itself; else it only waits for its clients to say something. */
  readonly pings?: boolean;
  /** Client events of one connection; further ones are refused. */
  readonly clientEventsMax?: number;
  /** Whether an answer of its API closes the connection, as Soketi's does. */
  readonly closesAfterAnswers?: boolean;
}

export interface StrictPusher {
  /** With the app's key. */
  readonly url: string;
  /** With the app's id. */
  readonly apiUrl: string;
  /** Of events that its API took. */
  readonly events: readonly string[];
  /** By presence channel, in the order in which they joined. */
  readonly users: ReadonlyMap<string, readonly string[]>;
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
  readonly data?: { readonly channel?: string; readonly auth?: string; readonly channel_data?: string };
}

export async function startStrictPusher(options: StrictPusherOptions = {}): Promise<StrictPusher> {
  const { pings = true, clientEventsMax = Infinity, closesAfterAnswers = false } = options;
  const events: string[] = [];
  const http = createServer((request, response) => {
    if (closesAfterAnswers) response.setHeader("connection", "close");
    answer(request, response, events).catch((error: unknown) => response.destroy(error as Error));
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const server = new WebSocketServer({ server: http });
  const channels = new Map<string, Set<Connection>>();
  const users = new Map<string, string[]>();
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
      else if (event === "pusher:subscribe")
        this.#subscribe(data?.channel ?? "", data?.auth, data?.channel_data);
      else if (event.startsWith("client-")) this.#publish(event, channel ?? "", data);
      else this.#error(4009, `unknown event ${event}`);
    }

    #subscribe(channel: string, auth: string | undefined, channelData: string | undefined): void {
      const hasPresence = channel.startsWith("presence-");
      const signed = [this.#id, channel, ...(hasPresence ? [channelData ?? ""] : [])].join(":");
      const wanted = hasPresence || channel.startsWith("private-") ? `${APP.key}:${sign(signed)}` : "";
      if (!CHANNEL.test(channel) || auth !== wanted) {
        const refusal = { type: "AuthError", error: "The connection is unauthorized.", status: 401 };
        return this.#say({ event: "pusher:subscription_error", channel, data: refusal });
      }
      const members = channels.get(channel) ?? new Set();
      if (hasPresence) {
        const member = JSON.parse(channelData ?? "") as { user_id: string };
        const ids = [...(users.get(channel) ?? []), member.user_id];
        users.set(channel, ids);
        for (const other of members) other.deliver("pusher_internal:member_added", channel, member);
        const presence = { ids, hash: Object.fromEntries(ids.map((id) => [id, {}])), count: ids.length };
        this.deliver("pusher_internal:subscription_succeeded", channel, { presence });
      } else {
        this.#say({ event: "pusher_internal:subscription_succeeded", channel, data: "{}" });
      }
      channels.set(channel, members.add(this));
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
  const { port } = http.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}/app/${APP.key}`,
    apiUrl: `http://127.0.0.1:${port}/apps/${APP.id}`,
    closed,
    events,
    users,
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
      http.closeAllConnections();
      http.close();
      await once(http, "close");
    },
  };
}

const QUERY = ["auth_key", "auth_timestamp", "auth_version", "body_md5"];
const AGE_S_MAX = 600;

/** Of its API: one event a request, in a body that is signed to the letter. */
async function answer(request: IncomingMessage, response: ServerResponse, events: string[]): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1");
  const refuse = (status: number, why: string): void => void response.writeHead(status).end(why);
  if (request.method !== "POST" || pathname !== `/apps/${APP.id}/events`)
    return refuse(404, "no such operation");
  const query = QUERY.map((name) => `${name}=${searchParams.get(name)}`).join("&");
  const age = Math.abs(Date.now() / 1000 - Number(searchParams.get("auth_timestamp")));
  const isRight =
    searchParams.get("auth_key") === APP.key &&
    searchParams.get("auth_version") === "1.0" &&
    searchParams.get("body_md5") === createHash("md5").update(body).digest("hex") &&
    searchParams.get("auth_signature") === sign(`POST\n${pathname}\n${query}`) &&
    age < AGE_S_MAX;
  if (!isRight) return refuse(401, "wrong signature");
  const { name, data, channels } = JSON.parse(body.toString()) as Record<string, unknown>;
  if (typeof name !== "string" || typeof data !== "string" || !Array.isArray(channels))
    return refuse(400, "name, data and channels are needed");
  events.push(data);
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
}
