/** A client of the built SDK, as an application has it, that records what its handlers were told. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Socket as TcpSocket } from "node:net";
import { WebSocket } from "ws";
// Types only: what runs is what was built.
import type {
  Client,
  connect,
  Gap,
  StarlingError,
  Subscribed,
  Roster,
  Subscription,
  watchPresence,
} from "../../src/client/index.js";
import type { Position, PublicationRecord } from "./checker.js";
import type { PassingPublication } from "./passing-checker.js";
import {
  idOf,
  infosOf,
  MAYBE_PUBLISHED,
  PUBLISH_ATTEMPTS_MAX,
  REPEAT_WITHIN_MS,
  type RecordingClient,
  type RecordingClientOptions,
} from "./recording-client.js";

interface Sdk {
  readonly connect: typeof connect;
  readonly watchPresence: typeof watchPresence;
}

const BACKOFF = { baseMs: 100, capMs: 2_000 };
const RETRY_MS = [200, 600] as const;
const SUPERSEDED = 4006;

/** @param dist directory of the built package */
export async function loadSdk(dist: string): Promise<(options: RecordingClientOptions) => RecordingClient> {
  const sdk = (await import(pathToFileURL(join(dist, "client/index.js")).href)) as Sdk;
  return (options) => new SdkClient(sdk, options);
}

class SdkClient implements RecordingClient {
  readonly name: string;
  readonly channels: readonly string[];
  readonly #options: RecordingClientOptions;
  readonly #client: Client;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #passingSubscriptions: readonly Subscription[];
  readonly #rosters = new Map<string, Roster>();
  /** Where the records say that it stands. */
  readonly #at = new Map<string, Position>();
  /** Channels without history that the server holds. */
  readonly #passing = new Set<string>();
  /** Losses that were recorded and that `onGap` is about to tell once more. */
  readonly #told = new Set<string>();
  #socket: WebSocket | undefined;
  #unsettled = 0;
  #ended = false;
  connects = 0;
  superseded = 0;

  constructor(sdk: Sdk, options: RecordingClientOptions) {
    this.#options = options;
    this.name = options.name;
    this.channels = options.channels;
    const { channels, identity } = options;
    options.record({ kind: "client", client: this.name, channels, user: identity?.user });
    const opened = (socket: WebSocket): void => void (this.#socket = socket);
    class Tapped extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, { perMessageDeflate: false });
        opened(this);
      }
    }
    const { random } = options;
    this.#client = sdk.connect(random.sample(options.urls, options.urls.length), {
      WebSocket: Tapped,
      backoff: BACKOFF,
      random: () => random.next(),
      ...(identity === undefined ? {} : { token: identity.token }),
    });
    // Refused subscriptions and repairs: what matters of them is in the records.
    this.#client.on("error", () => undefined);
    this.#client.on("state", (change) => {
      if (change.state === "connected") this.connects++;
      else for (const channel of this.#passing) this.#passingLost(channel);
      if (change.state === "waiting" && change.reason.code === SUPERSEDED) this.superseded++;
      // Nobody but this client uses its session, and nobody asked for its end.
      if (change.state === "closed" && !this.#ended) {
        options.trouble(`${this.name} was closed for good: ${change.reason.code} ${change.reason.message}`);
      }
    });
    for (const channel of this.channels) {
      const subscription = this.#client.subscribe(channel, (message) => this.#message(message), {
        onSubscribed: (subscribed) => this.#subscribed(subscribed),
        onGap: (gap) => this.#gap(gap),
      });
      this.#subscriptions.set(channel, subscription);
      if (options.rosters === true) {
        this.#rosters.set(
          channel,
          sdk.watchPresence(this.#client, channel, () => undefined),
        );
      }
    }
    this.#passingSubscriptions = (options.passing ?? []).map((channel) => this.#passingSubscription(channel));
  }

  #passingSubscription(channel: string): Subscription {
    const sees = (kind: "passing-held" | "passing-gap"): void =>
      this.#options.record({ kind, client: this.name, channel, atMs: Date.now() });
    return this.#client.subscribe(
      channel,
      ({ content }) => {
        if (this.#ended) return;
        const at = { client: this.name, channel, atMs: Date.now() };
        this.#options.record({ kind: "passing-message", ...at, id: idOf(content) });
      },
      {
        onSubscribed: () => {
          this.#passing.add(channel);
          sees("passing-held");
        },
        onUnsubscribed: () => this.#passingLost(channel),
        onGap: () => sees("passing-gap"),
      },
    );
  }

  #passingLost(channel: string): void {
    if (!this.#passing.delete(channel) || this.#ended) return;
    this.#options.record({ kind: "passing-lost", client: this.name, channel, atMs: Date.now() });
  }

  get ready(): boolean {
    return [...this.#subscriptions.values(), ...this.#passingSubscriptions].every(
      ({ subscribed }) => subscribed,
    );
  }

  get connected(): boolean {
    return this.#client.connection !== undefined;
  }

  get unsettled(): number {
    return this.#unsettled;
  }

  standsAt(channel: string): Position | undefined {
    return this.#at.get(channel);
  }

  async publish(id: string, channel: string, filler?: string): Promise<PublicationRecord> {
    const sentAtMs = Date.now();
    const settled = (outcome: PublicationRecord["outcome"], position?: Position): PublicationRecord => ({
      kind: "publication",
      id,
      channel,
      sentAtMs,
      settledAtMs: Date.now(),
      outcome,
      position,
    });
    const session = this.#client.connection?.session;
    this.#unsettled++;
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          const published = await this.#client.publish(channel, { id, filler }, { messageId: id });
          return settled("acked", positionOf(published));
        } catch (error) {
          const { code, sent } = error as StarlingError;
          if (attempt === 1 && !(sent && MAYBE_PUBLISHED.has(code))) return settled("refused");
        }
        await this.#connectedAgain(sentAtMs + REPEAT_WITHIN_MS);
        // In another session the same id would be another message.
        const another = this.#client.connection?.session !== session;
        if (this.#ended || another || attempt === PUBLISH_ATTEMPTS_MAX) return settled("maybe");
      }
    } finally {
      this.#unsettled--;
    }
  }

  async publishPassing(id: string, channel: string): Promise<PassingPublication["outcome"]> {
    try {
      await this.#client.publish(channel, { id });
      return "acked";
    } catch (error) {
      const { code, sent } = error as StarlingError;
      return sent && MAYBE_PUBLISHED.has(code) ? "maybe" : "refused";
    }
  }

  async #connectedAgain(deadlineMs: number): Promise<void> {
    do {
      await new Promise((resolve) => setTimeout(resolve, this.#options.random.between(...RETRY_MS)));
    } while (!this.connected && !this.#ended && Date.now() < deadlineMs);
  }

  pause(ms: number): void {
    const tcp = (this.#socket as unknown as { _socket?: TcpSocket } | undefined)?._socket;
    tcp?.pause();
    setTimeout(() => tcp?.resume(), ms);
  }

  drop(): void {
    this.#socket?.terminate();
  }

  end(): void {
    for (const [channel, { members, count }] of this.#rosters) {
      this.#options.record({
        kind: "roster",
        client: this.name,
        channel,
        atMs: Date.now(),
        what: count === undefined ? "unknown" : "snapshot",
        ...infosOf(members, this.#options.identity),
        persons: members.map(({ connection, user }) => (user === undefined ? `-${connection}` : `=${user}`)),
      });
    }
    this.#options.record({
      kind: "end",
      client: this.name,
      connected: this.ready,
      connection: this.#client.connection?.connection,
      info: this.#options.identity?.info,
    });
    this.#ended = true;
    this.#client.close();
  }

  #message(message: { channel: string; content: unknown; offset?: number; epoch?: string }): void {
    if (this.#ended) return;
    const { channel } = message;
    const position = positionOf(message);
    this.#told.delete(channel);
    if (position !== undefined) this.#at.set(channel, position);
    const id = idOf(message.content);
    this.#options.record({ kind: "message", client: this.name, channel, atMs: Date.now(), id, position });
  }

  #subscribed({ channel, recovered }: Subscribed): void {
    const position = this.#subscriptions.get(channel)?.position;
    const before = this.#at.get(channel);
    this.#told.delete(channel);
    const moved =
      before !== undefined && (position?.epoch !== before.epoch || position.offset > before.offset);
    // The server did not say, but the SDK will: by onGap, in this turn.
    if (moved && recovered === undefined) return;
    if (recovered === false) this.#told.add(channel);
    if (position !== undefined) this.#at.set(channel, position);
    this.#options.record({
      kind: "position",
      client: this.name,
      channel,
      atMs: Date.now(),
      position,
      missed: 0,
      recovered,
    });
  }

  #gap({ channel, recovered }: Gap): void {
    if (this.#told.delete(channel)) return;
    const position = this.#subscriptions.get(channel)?.position;
    if (position !== undefined) this.#at.set(channel, position);
    this.#options.record({
      kind: "gap",
      client: this.name,
      channel,
      atMs: Date.now(),
      recovered,
      position,
      missed: 0,
    });
  }
}

function positionOf({ offset, epoch }: { offset?: number; epoch?: string }): Position | undefined {
  return offset === undefined || epoch === undefined ? undefined : { offset, epoch };
}
