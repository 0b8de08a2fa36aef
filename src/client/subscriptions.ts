import type { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import type { Settle } from "./commands.js";
import { Entry, type Handle } from "./entry.js";
import { StarlingError, messageOf } from "./error.js";
import type { Frame } from "./frames.js";
import { positionOf, reaches, standingOf } from "./position.js";
import type { Gap, Message, Removal, Subscription, SubscribeOptions } from "./types.js";
import { isServerChannel } from "../protocols/starling/words.js";
import type { Position } from "../protocols/starling/words.js";

type NewsName = Exclude<keyof SubscribeOptions, "since">;
type News<Name extends NewsName> = Parameters<NonNullable<SubscribeOptions[Name]>>[0];

export interface SubscriptionsOptions {
  readonly clock: Clock;
  /** How long a `subscribed` that was announced is waited for. */
  readonly timeoutMs: number;
  newBackoff(): Backoff;
  /** On the open connection. Settled before the connection's end is told. */
  command(
    action: "subscribe" | "unsubscribe",
    channel: string,
    since: Position | undefined,
    settle: Settle,
  ): void;
  /** Runs a function of the application's. */
  guard(name: string, run: () => unknown): void;
  /** A subscription ended that the application did not end. @returns whether anyone was told */
  removed(removal: Removal): boolean;
  gap(gap: Gap): void;
  report(error: StarlingError): void;
  /** As report, for what the client itself puts right: only to who listens. */
  mention(error: StarlingError): void;
}

/** What a `connect` brought back. */
export interface Restored {
  readonly channels: Iterable<string>;
  /** Those of them for which a `subscribed` is to come. */
  readonly recovering: ReadonlySet<string>;
  /** Those whose position was told with the `connect`. */
  readonly told: ReadonlySet<string>;
}

/** More at once could exceed what a node lets wait while it checks rights: that closes the connection. */
const ASKED_AT_ONCE = 100;

const NOWHERE: Frame = { type: "reply" };

/** What the application wants to hear, and what the server has of it. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #entries = new Map<string, Entry>();
  #online = false;
  #asked = 0;
  /** Those whose turn to be asked for has not come. */
  #backlog: Entry[] = [];

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  add(channel: string, handler: Handle["handler"], options: SubscribeOptions): Subscription {
    const entry = this.#entries.get(channel) ?? new Entry(channel, this.#options.newBackoff());
    if (this.#entries.get(channel) !== entry) {
      this.#entries.set(channel, entry);
      entry.position = options.since;
      if (this.#online) this.#ask(entry);
    }
    const handle: Handle = { handler, options };
    const { handles, ready } = entry;
    handles.add(handle);
    return {
      channel,
      ready: ready.promise,
      get subscribed() {
        return entry.held && handles.has(handle);
      },
      get position() {
        return entry.position;
      },
      unsubscribe: () => {
        if (handles.delete(handle) && handles.size === 0) this.#leave(entry);
      },
    };
  }

  /** @returns whether the message is to be delivered */
  accept(channel: string, frame: Frame): boolean {
    const entry = this.#entries.get(channel);
    const verdict = entry?.accept(frame) ?? "next";
    if (verdict === "jump") {
      this.#repair(entry!, `a message at ${show(positionOf(frame)!)} follows ${show(entry!.position!)}`);
    }
    return verdict === "next";
  }

  deliver(channel: string, message: Message<never>): void {
    // A copy: handlers may add and take off others while they are called.
    for (const { handler } of [...(this.#entries.get(channel)?.handles ?? [])]) {
      this.#options.guard(`the handler of "${channel}"`, () => handler(message));
    }
  }

  /** Hands news of a channel to those of its subscribers who asked for such. */
  tell<Name extends NewsName>(channel: string, name: Name, news: News<Name>): void {
    const entry = this.#entries.get(channel);
    if (entry !== undefined) this.#tell(entry, name, news);
  }

  /** Where the client stands, by channel, for the server to go on from. */
  *positions(): Generator<readonly [channel: string, position: Position]> {
    for (const { channel, position } of this.#entries.values()) {
      if (position !== undefined) yield [channel, position];
    }
  }

  /**
   * A connection is ready. Asks, all at once, for what it does not hold yet, and
   * gives up what the session brought along and nobody wants any more.
   */
  online({ channels, recovering, told }: Restored): void {
    this.#online = true;
    const held = new Set(channels);
    for (const entry of [...this.#entries.values()]) {
      const { channel } = entry;
      if (!held.has(channel)) this.#ask(entry);
      else if (!recovering.has(channel)) this.#hold(entry);
      else if (entry.position === undefined || told.has(channel)) this.#await(entry);
      else {
        entry.unsure = true;
        this.#ask(entry);
      }
    }
    for (const channel of held) {
      if (!this.#entries.has(channel) && !isServerChannel(channel)) this.#giveUp(channel);
    }
  }

  /** The connection is gone: nothing is held until the next one. */
  offline(): void {
    this.#online = false;
    this.#backlog = [];
    for (const entry of this.#entries.values()) {
      this.#options.clock.clearTimeout(entry.retry);
      entry.unsure = false;
      entry.lost();
    }
  }

  /** A `subscribed` came: the session's subscription goes on. */
  recovered(channel: string, frame: Frame): void {
    const entry = this.#entries.get(channel);
    if (entry?.recovering === true) this.#hold(entry, frame);
  }

  /** A `gap` came. */
  gap(channel: string, frame: Frame): void {
    const entry = this.#entries.get(channel);
    if (entry !== undefined && !entry.held) return;
    const { position, recovered = false } = standingOf(frame);
    if (entry !== undefined) {
      if (recovered && position !== undefined && !reaches(entry.position, position)) {
        return this.#repair(entry, `a gap is filled from ${show(position)} on, not ${show(entry.position!)}`);
      }
      // What is sent again is then dropped.
      if (!recovered) entry.position = position;
    }
    this.#tellGap(channel, recovered, position);
  }

  /** The server took a subscription away, or could not restore it just now. */
  taken(channel: string, error: StarlingError): void {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return;
    if (!error.temporary) return this.#drop(entry, error);
    entry.lost();
    this.#askLater(entry, error);
  }

  /** The client is closed. */
  end(why: string): void {
    this.offline();
    for (const entry of this.#entries.values()) {
      entry.ready.reject(new StarlingError("closed", `subscribe to "${entry.channel}": ${why}`));
    }
    this.#entries.clear();
  }

  #ask(entry: Entry): void {
    // Left while it waited for its turn.
    if (this.#entries.get(entry.channel) !== entry) return;
    // The server's own channels, such as #user:42, are not asked for: it subscribes whom it means.
    if (isServerChannel(entry.channel)) return this.#hold(entry);
    if (this.#asked >= ASKED_AT_ONCE) return void this.#backlog.push(entry);
    this.#asked++;
    if (entry.unsure) {
      entry.unsure = false;
      this.#giveUp(entry.channel, () => (entry.unsure = true));
    }
    this.#options.command("subscribe", entry.channel, entry.position, (error, reply) => {
      this.#asked--;
      this.#answered(entry, error, reply);
      while (this.#asked < ASKED_AT_ONCE && this.#backlog.length > 0) this.#ask(this.#backlog.shift()!);
    });
  }

  #answered(entry: Entry, error: StarlingError | undefined, reply: Frame | undefined): void {
    if (this.#entries.get(entry.channel) !== entry) return;
    // A server that holds it already does not say where the client stands: asked again.
    if (error === undefined && !entry.unsure) this.#hold(entry, reply);
    else if (error?.temporary === false) this.#drop(entry, error);
    // Without a connection the next one asks again.
    else if (this.#online) {
      if (error?.code === "timeout") entry.unsure = true;
      this.#askLater(entry, error);
    }
  }

  /** The server says later where the restored subscription stands. */
  #await(entry: Entry): void {
    const { clock, timeoutMs } = this.#options;
    entry.recovering = true;
    entry.retry = clock.setTimeout(() => {
      entry.recovering = false;
      entry.unsure = true;
      this.#ask(entry);
    }, timeoutMs);
  }

  #askLater(entry: Entry, error?: StarlingError): void {
    const { clock } = this.#options;
    clock.clearTimeout(entry.retry);
    entry.retry = clock.setTimeout(() => this.#ask(entry), entry.backoff.next(error?.retryAfterMs));
    if (error !== undefined) this.#options.mention(error);
  }

  /** Messages are missing and the server did not say so: asks for them. */
  #repair(entry: Entry, what: string): void {
    entry.lost();
    entry.unsure = true;
    // After a while, and not all clients at once: who finds this is not alone.
    this.#askLater(entry);
    this.#options.report(
      new StarlingError("out_of_order", `"${entry.channel}": ${what}: the missing messages are requested`),
    );
  }

  /** @param frame says where the client stands */
  #hold(entry: Entry, frame: Frame = NOWHERE): void {
    this.#options.clock.clearTimeout(entry.retry);
    const { told, whole } = entry.hold(frame);
    this.#tell(entry, "onSubscribed", told);
    if (!whole) this.#tellGap(entry.channel, false, entry.position);
  }

  #tellGap(channel: string, recovered: boolean, position: Position | undefined): void {
    const gap: Gap = { channel, recovered, ...position };
    this.#options.gap(gap);
    this.tell(channel, "onGap", gap);
  }

  /** @returns how many were told */
  #tell<Name extends NewsName>({ channel, handles }: Entry, name: Name, news: News<Name>): number {
    let told = 0;
    for (const { options } of [...handles]) {
      const listener = options[name] as ((news: News<Name>) => unknown) | undefined;
      if (listener === undefined) continue;
      told++;
      this.#options.guard(`${name} of "${channel}"`, () => listener(news));
    }
    return told;
  }

  #leave(entry: Entry): void {
    if (this.#entries.get(entry.channel) !== entry) return;
    this.#entries.delete(entry.channel);
    this.#options.clock.clearTimeout(entry.retry);
    entry.held = false;
    entry.ready.reject(
      new StarlingError("closed", `subscribe to "${entry.channel}": unsubscribed before it was ready`),
    );
    if (this.#online && !isServerChannel(entry.channel)) this.#giveUp(entry.channel);
  }

  #giveUp(channel: string, failed?: () => void): void {
    this.#options.command("unsubscribe", channel, undefined, (error) => {
      // not_subscribed is what was wanted; without a connection the next one gives it up.
      if (error === undefined || error.code === "not_subscribed" || !this.#online) return;
      failed?.();
      this.#options.mention(error);
    });
  }

  #drop(entry: Entry, error: StarlingError): void {
    const { channel, ready } = entry;
    this.#entries.delete(channel);
    this.#options.clock.clearTimeout(entry.retry);
    entry.held = false;
    ready.reject(error);
    const removal: Removal = { channel, code: error.code, message: error.message };
    const told = this.#options.removed(removal);
    if (this.#tell(entry, "onUnsubscribed", removal) === 0 && !told) this.#options.report(error);
  }
}

function show({ offset, epoch }: Position): string {
  return `${offset} (${epoch})`;
}

/** An `unsubscribed` frame as an error. */
export function removalOf(frame: Frame): StarlingError {
  return new StarlingError(frame["code"] as StarlingError["code"], messageOf(frame["message"]), {
    sent: true,
  });
}
