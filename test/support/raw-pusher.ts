/** A bare client of Pusher's protocol, which signs for itself: what it is sent it keeps, what it sends is the test's own. */

import type { Config } from "../../src/config.js";
import { sign } from "../../src/protocols/pusher/signature.js";
import { RawClient, type Closed, type Frame } from "./raw-client.js";

export const APP_KEY = "app-key-of-tests";
export const APP_SECRET = "a-secret-of-the-tests";

/** A node's app `main` with a key, and client events. */
export function pusherOptions(pusher: Partial<Config["pusher"]> = {}): Partial<Config> {
  // The options fill in what is not set.
  return {
    appKey: APP_KEY,
    appSecret: APP_SECRET,
    pusher: { clientEvents: true, ...pusher } as Config["pusher"],
  };
}

export interface Member {
  readonly user_id: string | number;
  readonly user_info?: unknown;
}

/** The data of a presence channel's success. */
export interface Presence {
  readonly ids: readonly (string | number)[];
  readonly hash: Readonly<Record<string, unknown>>;
  readonly count: number;
}

export class RawPusher {
  readonly raw: RawClient;
  readonly socketId: string;
  readonly #secret: string;
  readonly #key: string;

  private constructor(raw: RawClient, socketId: string, key: string, secret: string) {
    this.raw = raw;
    this.socketId = socketId;
    this.#key = key;
    this.#secret = secret;
  }

  static async open(
    { wsUrl }: { readonly wsUrl: string },
    { key = APP_KEY, secret = APP_SECRET, query = "?protocol=7&client=test&version=1", origin = "" } = {},
  ): Promise<RawPusher> {
    const options = origin === "" ? {} : { origin };
    const raw = await RawClient.open(wsUrl, { path: `/app/${key}${query}`, ...options });
    const greeting = await raw.next((frame) => frame["event"] === "pusher:connection_established");
    const { socket_id } = JSON.parse(greeting["data"] as string) as { socket_id: string };
    return new RawPusher(raw, socket_id, key, secret);
  }

  /** Frames of an event that came up to now. */
  had(event: string, channel?: string): Frame[] {
    return this.raw.frames.filter(
      (frame) => frame["event"] === event && (channel === undefined || frame["channel"] === channel),
    );
  }

  /** Takes the first frame of an event that was not taken yet. */
  next(event: string, channel?: string): Promise<Frame> {
    return this.raw.next(
      (frame) => frame["event"] === event && (channel === undefined || frame["channel"] === channel),
    );
  }

  /** As next. @returns its data, which is JSON in a string */
  async data<T = unknown>(event: string, channel?: string): Promise<T> {
    return JSON.parse((await this.next(event, channel))["data"] as string) as T;
  }

  say(event: string, data: unknown, channel?: string): void {
    this.raw.sendText(JSON.stringify({ event, channel, data }));
  }

  /** What its application would answer. @param member  of a presence channel */
  authOf(channel: string, member?: Member): { auth: string; channel_data?: string } {
    if (!/^(private|presence)-/.test(channel)) return { auth: "" };
    const channelData = member === undefined ? undefined : JSON.stringify(member);
    const signed = [this.socketId, channel, ...(channelData === undefined ? [] : [channelData])].join(":");
    const auth = `${this.#key}:${sign(this.#secret, signed)}`;
    return channelData === undefined ? { auth } : { auth, channel_data: channelData };
  }

  subscribe(channel: string, member?: Member): void {
    this.say("pusher:subscribe", { channel, ...this.authOf(channel, member) });
  }

  async join(channel: string, member?: Member): Promise<Frame> {
    this.subscribe(channel, member);
    return this.next("pusher_internal:subscription_succeeded", channel);
  }

  async joinPresence(channel: string, member: Member): Promise<Presence> {
    const { data } = await this.join(channel, member);
    return (JSON.parse(data as string) as { presence: Presence }).presence;
  }

  unsubscribe(channel: string): void {
    this.say("pusher:unsubscribe", { channel });
  }

  signIn(user: object): void {
    const userData = JSON.stringify(user);
    const auth = `${this.#key}:${sign(this.#secret, `${this.socketId}::user::${userData}`)}`;
    this.say("pusher:signin", { auth, user_data: userData });
  }

  /** Everything that it sent before is taken, and everything that the node had to say to it has come. */
  async settled(): Promise<void> {
    this.say("pusher:ping", {});
    await this.next("pusher:pong");
  }

  closed(): Promise<Closed> {
    return this.raw.closed();
  }

  close(): void {
    this.raw.close();
  }
}
