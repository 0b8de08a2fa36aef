/** Clients and a back end of the Pusher protocol, and what they do wrong. */

import { setTimeout as delay } from "node:timers/promises";
import Pusher from "pusher";
import { WebSocket } from "ws";
import { sign } from "../../src/protocols/pusher/signature.js";
import { until } from "../../test/support/eventually.js";
import { PUSHER_APP, type Fleet } from "./fleet.js";

const CLIENTS = 8;
const EVENT_INTERVAL_MS = 200;
const COME_BACK_MS = 500;
const CHANNELS = ["news", "private-room", "presence-room"];

interface Running {
  /** What an operator would want to see. */
  mistakes(scraped: () => Promise<unknown>): Promise<void>;
  stop(): void;
}

/** All at the first node, which goes on. */
export function startPusherLoad(fleet: Fleet): Running {
  const members = Array.from({ length: CLIENTS }, (_, i) => new Member(fleet, `user-${i}`));
  const backEnd = backEndOf(fleet, PUSHER_APP.secret);
  // What is refused while Redis is away is counted by the node.
  const ignore = (): void => undefined;
  const working = setInterval(() => {
    members[Math.floor(Math.random() * CLIENTS)]!.say("private-room");
    backEnd.trigger("news", "said", { at: Date.now() }).catch(ignore);
    backEnd.get({ path: "/channels/news", params: { info: "subscription_count" } }).catch(ignore);
  }, EVENT_INTERVAL_MS);
  return {
    async mistakes(scraped) {
      const stranger = backEndOf(fleet, "not-the-secret-of-shop");
      // A rate is told between two readings.
      for (let round = 0; round < 2; round++) {
        await stranger.trigger("news", "said", {}).catch(ignore);
        await backEnd.trigger("news", "said", "x".repeat(20_000)).catch(ignore);
        members[0]!.send("pusher:subscribe", { channel: "private-other", auth: `${PUSHER_APP.key}:wrong` });
        members[0]!.say("news");
        for (let i = 0; i < 50; i++) members[0]!.say("private-room");
        await refused(fleet, "key-of-nobody");
        const over = Array.from({ length: PUSHER_APP.maxConnections - CLIENTS + 1 }, () =>
          refused(fleet, PUSHER_APP.key),
        );
        await Promise.all(over);
        await scraped();
      }
    },
    stop() {
      clearInterval(working);
      for (const member of members) member.stop();
    },
  };
}

function urlOf({ nodes }: Fleet, key: string): string {
  return `${nodes[0]!.wsUrl}/app/${key}?protocol=7`;
}

function backEndOf({ nodes }: Fleet, secret: string): Pusher {
  const { host, apiPort: port } = nodes[0]!;
  return new Pusher({
    appId: PUSHER_APP.id,
    key: PUSHER_APP.key,
    secret,
    host,
    port: `${port}`,
    useTLS: false,
  });
}

/** Resolves once it was refused, or let in. */
async function refused(fleet: Fleet, key: string): Promise<void> {
  const socket = new WebSocket(urlOf(fleet, key));
  let isAnswered = false;
  for (const event of ["message", "error", "close"]) socket.on(event, () => (isAnswered = true));
  await until("an answer", () => isAnswered);
  socket.terminate();
}

/** A client that is in every channel, answers pings and comes back. */
class Member {
  readonly #fleet: Fleet;
  readonly #user: string;
  #socket: WebSocket | undefined;
  #stopped = false;

  constructor(fleet: Fleet, user: string) {
    this.#fleet = fleet;
    this.#user = user;
    this.#connect();
  }

  send(event: string, data: unknown, channel?: string): void {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ event, channel, data }));
    }
  }

  say(channel: string): void {
    this.send("client-said", { by: this.#user }, channel);
  }

  stop(): void {
    this.#stopped = true;
    this.#socket?.terminate();
  }

  #connect(): void {
    const socket = new WebSocket(urlOf(this.#fleet, PUSHER_APP.key));
    this.#socket = socket;
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", () => void this.#comeBack());
    socket.on("message", (bytes: Buffer) => {
      const { event, data } = JSON.parse(bytes.toString()) as { event: string; data: string };
      if (event === "pusher:ping") this.send("pusher:pong", {});
      if (event !== "pusher:connection_established") return;
      const { socket_id } = JSON.parse(data) as { socket_id: string };
      for (const channel of CHANNELS) this.#join(channel, socket_id);
    });
  }

  #join(channel: string, socketId: string): void {
    const channel_data = channel.startsWith("presence-")
      ? JSON.stringify({ user_id: this.#user })
      : undefined;
    const text = [socketId, channel, channel_data].filter((part) => part !== undefined).join(":");
    const auth = `${PUSHER_APP.key}:${sign(PUSHER_APP.secret, text)}`;
    this.send("pusher:subscribe", { channel, auth, channel_data });
  }

  async #comeBack(): Promise<void> {
    await delay(COME_BACK_MS);
    if (!this.#stopped) this.#connect();
  }
}
