/** One tab of a user in presence channels, in Pusher's protocol or the native one, and what it sees for presence-checker.ts. */

import { createHmac } from "node:crypto";
import { WebSocket } from "ws";
import type { PresenceEvidence } from "./presence-view.js";
import { tokenOf } from "./token.js";

/** Of the app whose channels they are. */
export const PRESENCE_APP = {
  key: "key-of-presence",
  secret: "secret-of-presence-in-tests",
  jwtSecret: "a secret of the tests, 32 bytes long",
} as const;

export interface TabOptions {
  readonly tab: string;
  /** Of one user always of the same type. */
  readonly user: string | number;
  readonly node: { readonly name: string; readonly wsUrl: string };
  readonly record: (evidence: PresenceEvidence) => void;
  /** Told of what must not happen and is in no record. */
  readonly trouble: (what: string) => void;
  /** Its connection was lost, or never came to be. */
  readonly lost: (code: number) => void;
}

export interface Tab {
  readonly node: string;
  readonly channels: ReadonlySet<string>;
  /** Whether each was answered. */
  readonly settled: boolean;
  join(channel: string): void;
  leave(channel: string): void;
  /** @param politely  with a close frame */
  close(politely: boolean): void;
}

interface Frame {
  readonly [field: string]: unknown;
}

const HANDSHAKE_MS = 10_000;
const MEMBERS_MAX = 1_000;
const RETRY_MS = 200;
/** Status of a subscription that failed for a while. */
const UNAVAILABLE = 503;

/** @param native  by the native protocol */
export async function openTab(native: boolean, options: TabOptions): Promise<Tab> {
  if (!native) return new PusherTab(options);
  const token = await tokenOf(String(options.user), PRESENCE_APP.jwtSecret, infoOf(String(options.user)));
  return new NativeTab(options, token);
}

function infoOf(user: string): { readonly name: string } {
  return { name: `user ${user}` };
}

abstract class SocketTab implements Tab {
  readonly node: string;
  /** That it has, or is to have as soon as it is connected. */
  readonly channels = new Set<string>();
  protected readonly options: TabOptions;
  readonly #held = new Set<string>();
  readonly #socket: WebSocket;
  #greeted = false;
  #ended = false;

  constructor(options: TabOptions, path: string, protocols: string[], hearsOfItself: boolean) {
    this.options = options;
    this.node = options.node.name;
    const { tab, node, record } = options;
    record({ kind: "presence-tab", tab, user: String(options.user), node: node.name, hearsOfItself });
    this.#socket = new WebSocket(node.wsUrl + path, protocols, {
      perMessageDeflate: false,
      handshakeTimeout: HANDSHAKE_MS,
    });
    this.#socket.on("message", (data: Buffer) => {
      if (!this.#ended) this.received(JSON.parse(data.toString()) as Frame);
    });
    this.#socket.on("error", () => undefined); // "close" follows
    this.#socket.on("close", (code) => this.#closed(code));
  }

  protected abstract received(frame: Frame): void;
  protected abstract sendJoin(channel: string): void;
  protected abstract sendLeave(channel: string): void;

  get settled(): boolean {
    return this.#held.size === this.channels.size;
  }

  join(channel: string): void {
    this.channels.add(channel);
    if (this.#greeted) this.#ask(channel);
  }

  leave(channel: string): void {
    this.channels.delete(channel);
    this.#held.delete(channel);
    if (!this.#greeted) return;
    this.#sees(channel, { what: "left", abrupt: false });
    this.sendLeave(channel);
  }

  close(politely: boolean): void {
    this.#end(false);
    if (politely) this.#socket.close(1000);
    else this.#socket.terminate();
  }

  /** The node spoke: from now on it may be asked. */
  protected greeted(): void {
    this.#greeted = true;
    for (const channel of this.channels) this.#ask(channel);
  }

  protected send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  /** @param users  each with what it shows */
  protected whole(channel: string, users: ReadonlyMap<string, unknown>, count: number): void {
    this.#held.add(channel);
    for (const [user, info] of users) this.#checkInfo(channel, user, info);
    this.#sees(channel, { what: "whole", users: [...users.keys()], count });
  }

  protected added(channel: string, user: string, info: unknown): void {
    this.#checkInfo(channel, user, info);
    this.#sees(channel, { what: "added", user });
  }

  protected removed(channel: string, user: string): void {
    this.#sees(channel, { what: "removed", user });
  }

  #checkInfo(channel: string, user: string, info: unknown): void {
    const shown = JSON.stringify(info) ?? "nothing";
    if (shown !== JSON.stringify(infoOf(user))) this.#sees(channel, { what: "odd", user, shown });
  }

  /** Redis could not be reached just now. */
  protected askAgain(channel: string): void {
    setTimeout(() => {
      if (!this.#ended && this.channels.has(channel)) this.sendJoin(channel);
    }, RETRY_MS);
  }

  #ask(channel: string): void {
    this.#sees(channel, { what: "asked" });
    this.sendJoin(channel);
  }

  #sees(channel: string, what: SightOf): void {
    this.options.record({
      kind: "presence-sight",
      tab: this.options.tab,
      channel,
      atMs: Date.now(),
      ...what,
    });
  }

  #closed(code: number): void {
    if (this.#ended) return;
    this.#end(true);
    this.options.lost(code);
  }

  #end(abrupt: boolean): void {
    this.#ended = true;
    if (!this.#greeted) return;
    for (const channel of this.channels) this.#sees(channel, { what: "left", abrupt });
  }
}

type SightOf =
  | { readonly what: "asked" }
  | { readonly what: "whole"; readonly users: readonly string[]; readonly count: number }
  | { readonly what: "added" | "removed"; readonly user: string }
  | { readonly what: "odd"; readonly user: string; readonly shown: string }
  | { readonly what: "left"; readonly abrupt: boolean };

class PusherTab extends SocketTab {
  #socketId = "";

  constructor(options: TabOptions) {
    super(options, `/app/${PRESENCE_APP.key}?protocol=7&client=js&version=8.6.0`, [], false);
  }

  protected received({ event, channel, data }: Frame): void {
    switch (event) {
      case "pusher:connection_established":
        this.#socketId = (JSON.parse(data as string) as { socket_id: string }).socket_id;
        return this.greeted();
      case "pusher:ping":
        return this.send({ event: "pusher:pong", data: {} });
      case "pusher_internal:subscription_succeeded": {
        const { presence } = JSON.parse(data as string) as {
          presence: { ids: (string | number)[]; hash: Record<string, unknown>; count: number };
        };
        const users = new Map(Object.entries(presence.hash));
        if (presence.ids.length !== users.size)
          this.options.trouble(`${this.options.tab} has ${presence.ids.length} ids of ${users.size} users`);
        return this.whole(channel as string, users, presence.count);
      }
      case "pusher_internal:member_added": {
        const member = JSON.parse(data as string) as { user_id: string | number; user_info: unknown };
        return this.added(channel as string, String(member.user_id), member.user_info);
      }
      case "pusher_internal:member_removed":
        return this.removed(
          channel as string,
          String((JSON.parse(data as string) as { user_id: string | number }).user_id),
        );
      case "pusher:subscription_error":
        if ((data as { status: number }).status === UNAVAILABLE) return this.askAgain(channel as string);
        return this.options.trouble(`${this.options.tab} was told ${JSON.stringify({ channel, data })}`);
      case "pusher:error":
        this.options.trouble(`${this.options.tab} was told ${JSON.stringify({ event, channel, data })}`);
    }
  }

  protected sendJoin(channel: string): void {
    const { user } = this.options;
    const channelData = JSON.stringify({ user_id: user, user_info: infoOf(String(user)) });
    const signature = createHmac("sha256", PRESENCE_APP.secret)
      .update(`${this.#socketId}:${channel}:${channelData}`)
      .digest("hex");
    const auth = `${PRESENCE_APP.key}:${signature}`;
    this.send({ event: "pusher:subscribe", data: { channel, auth, channel_data: channelData } });
  }

  protected sendLeave(channel: string): void {
    this.send({ event: "pusher:unsubscribe", data: { channel } });
  }
}

interface NativeMember {
  readonly user: string;
  readonly info?: unknown;
}

/** Once it is subscribed it asks who is there: the answer has its place among joins and leaves. */
class NativeTab extends SocketTab {
  constructor(options: TabOptions, token: string) {
    super(options, `/?token=${token}`, ["starling.v1.json"], true);
  }

  protected received(frame: Frame): void {
    const { type, id, user, info } = frame;
    const channel = (frame["channel"] ?? "") as string;
    switch (type) {
      case "welcome":
        return this.greeted();
      case "reply":
        if (id === `subscribe ${channel}`) {
          this.send({ action: "presence", id: `presence ${channel}`, channel, limit: MEMBERS_MAX });
        } else if (id === `presence ${channel}`) this.#whole(channel, frame);
        return;
      case "presence":
        return this.#whole(channel, frame);
      case "join":
        return this.added(channel, user as string, info);
      case "leave":
        return this.removed(channel, user as string);
      case "error":
        if (frame["temporary"] === true && typeof id === "string") return this.askAgain(id.split(" ")[1]!);
        return this.options.trouble(`${this.options.tab} was told ${JSON.stringify(frame)}`);
      case "unsubscribed":
        this.options.trouble(`${this.options.tab} was told ${JSON.stringify(frame)}`);
    }
  }

  #whole(channel: string, { members, users }: Frame): void {
    const shown = new Map<string, unknown>();
    for (const { user, info } of members as NativeMember[]) if (!shown.has(user)) shown.set(user, info);
    this.whole(channel, shown, users as number);
  }

  protected sendJoin(channel: string): void {
    this.send({ action: "subscribe", id: `subscribe ${channel}`, channel });
  }

  protected sendLeave(channel: string): void {
    this.send({ action: "unsubscribe", channel });
  }
}
