import type { Backoff } from "./backoff.js";
import type { Clock } from "./clock.js";
import type { Settle } from "./pending-commands.js";
import { ChannelSubscription, type Handle } from "./channel-subscription.js";
import { disposable } from "./disposable.js";
import { StarlingError, messageOf } from "./error.js";
import type { Frame } from "./frames.js";
import { positionOf, reaches, standingOf } from "./position.js";
import type { Gap, Message, Removal, Subscription, SubscribeOptions } from "./types.js";
import { isServerChannel, userOfChannel } from "../protocols/starling/words.js";
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
  /** Reports an error that the client itself puts right: only listeners are told. */
  mention(error: StarlingError): void;
}

/** What a `connect` brought back. */
export interface Restored {
  readonly channels: Iterable<string>;
  /** Those of them for which a `subscribed` is to come. */
  readonly recovering: ReadonlySet<string>;
  /** Those whose position was told with the `connect`. */
  readonly told: ReadonlySet<string>;
  /** null: not identified. */
  readonly user: string | null;
}

/** More at once could exceed what a node lets wait while it checks rights: that closes the connection. */
const ASKED_AT_ONCE = 100;

const NOWHERE: Frame = { type: "reply" };

/** The channels that the application subscribes to, and which of these subscriptions the server holds. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #subscriptions = new Map<string, ChannelSubscription>();
  #online = false;
  #user: string | null = null;
  #asked = 0;
  /** Subscriptions whose turn to be asked for has not come. */
  #backlog: ChannelSubscription[] = [];

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  add(channel: string, handler: Handle["handler"], options: SubscribeOptions): Subscription {
    const subscription =
      this.#subscriptions.get(channel) ?? new ChannelSubscription(channel, this.#options.newBackoff());
    if (this.#subscriptions.get(channel) !== subscription) {
      this.#subscriptions.set(channel, subscription);
      subscription.position = options.since;
      // Where no server has to answer, the outcome is told once the caller has its subscription all the same.
      const ask = () => this.#online && this.#ask(subscription);
      if (isServerChannel(channel)) void Promise.resolve().then(ask);
      else ask();
    }
    const handle: Handle = { handler, options };
    const { handles, ready } = subscription;
    handles.add(handle);
    const unsubscribe = () => {
      if (handles.delete(handle) && handles.size === 0) this.#leave(subscription);
    };
    return disposable(
      {
        channel,
        get ready() {
          ready.watched = true;
          return ready.promise;
        },
        get subscribed() {
          return subscription.held && handles.has(handle);
        },
        get position() {
          return subscription.position;
        },
        unsubscribe,
      },
      unsubscribe,
    );
  }

  /** @returns whether the message is to be delivered */
  accept(channel: string, frame: Frame): boolean {
    const subscription = this.#subscriptions.get(channel);
    const verdict = subscription?.accept(frame) ?? "next";
    if (verdict === "jump") {
      this.#repair(
        subscription!,
        `a message at ${show(positionOf(frame)!)} follows ${show(subscription!.position!)}`,
      );
    }
    return verdict === "next";
  }

  deliver(channel: string, message: Message<never>): void {
    // A copy: handlers may add and take off others while they are called.
    for (const { handler } of [...(this.#subscriptions.get(channel)?.handles ?? [])]) {
      this.#options.guard(`the handler of "${channel}"`, () => handler(message));
    }
  }

  /** Hands news of a channel to those of its subscribers that listen for it. */
  tell<Name extends NewsName>(channel: string, name: Name, news: News<Name>): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription !== undefined) this.#tell(subscription, name, news);
  }

  /** Where the client stands, by channel, for the server to go on from. */
  *positions(): Generator<readonly [channel: string, position: Position]> {
    for (const { channel, position } of this.#subscriptions.values()) {
      if (position !== undefined) yield [channel, position];
    }
  }

  /**
   * A connection is ready. Subscribes, all at once, to what the server does not hold yet, and
   * unsubscribes from what the session brought along and the application no longer wants.
   */
  online({ channels, recovering, told, user }: Restored): void {
    this.#online = true;
    this.#user = user;
    const held = new Set(channels);
    for (const subscription of [...this.#subscriptions.values()]) {
      const { channel } = subscription;
      if (!held.has(channel)) this.#ask(subscription);
      else if (!recovering.has(channel)) this.#hold(subscription);
      else if (subscription.position === undefined || told.has(channel)) this.#await(subscription);
      else {
        subscription.unsure = true;
        this.#ask(subscription);
      }
    }
    for (const channel of held) {
      if (!this.#subscriptions.has(channel) && !isServerChannel(channel)) this.#giveUp(channel);
    }
  }

  /** The connection is gone: nothing is held until the next one. */
  offline(): void {
    this.#online = false;
    this.#backlog = [];
    for (const subscription of this.#subscriptions.values()) {
      this.#options.clock.clearTimeout(subscription.retry);
      subscription.unsure = false;
      subscription.lost();
    }
  }

  /** A `subscribed` came: the session's subscription goes on. */
  recovered(channel: string, frame: Frame): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription?.recovering === true) this.#hold(subscription, frame);
  }

  /** A `gap` came. */
  gap(channel: string, frame: Frame): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription !== undefined && !subscription.held) return;
    const { position, recovered = false } = standingOf(frame);
    if (subscription !== undefined) {
      if (recovered && position !== undefined && !reaches(subscription.position, position)) {
        return this.#repair(
          subscription,
          `a gap is filled from ${show(position)} on, not ${show(subscription.position!)}`,
        );
      }
      // What is sent again is then dropped.
      if (!recovered) subscription.position = position;
    }
    this.#tellGap(channel, recovered, position);
  }

  /** The server took a subscription away, or could not restore it just now. */
  taken(channel: string, error: StarlingError): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) return;
    if (!error.temporary) return this.#drop(subscription, error);
    subscription.lost();
    this.#askLater(subscription, error);
  }

  /** The client is closed. */
  end(why: string): void {
    this.offline();
    for (const subscription of this.#subscriptions.values()) {
      subscription.ready.reject(
        new StarlingError("closed", `subscribe to "${subscription.channel}": ${why}`),
      );
    }
    this.#subscriptions.clear();
  }

  #ask(subscription: ChannelSubscription): void {
    // Left while it waited for its turn.
    if (this.#subscriptions.get(subscription.channel) !== subscription) return;
    // The server's own channels, such as #user:42, are not asked for: it subscribes whom it means.
    if (isServerChannel(subscription.channel)) return this.#holdOwn(subscription);
    if (this.#asked >= ASKED_AT_ONCE) return void this.#backlog.push(subscription);
    this.#asked++;
    if (subscription.unsure) {
      subscription.unsure = false;
      this.#giveUp(subscription.channel, () => (subscription.unsure = true));
    }
    this.#options.command("subscribe", subscription.channel, subscription.position, (error, reply) => {
      this.#asked--;
      this.#answered(subscription, error, reply);
      while (this.#asked < ASKED_AT_ONCE && this.#backlog.length > 0) this.#ask(this.#backlog.shift()!);
    });
  }

  /** What the server sends of itself reaches the connections of one user. */
  #holdOwn(subscription: ChannelSubscription): void {
    const { channel } = subscription;
    const user = userOfChannel(channel);
    if (user !== undefined && user === this.#user) return this.#hold(subscription);
    const who = this.#user === null ? "is not identified" : `is of user ${JSON.stringify(this.#user)}`;
    const why =
      user === undefined
        ? "of the names that begin with # only #user:<user> reaches anybody"
        : `it reaches the connections of its user alone, and this one ${who}`;
    this.#drop(subscription, new StarlingError("forbidden", `nothing can arrive in "${channel}": ${why}`));
  }

  #answered(
    subscription: ChannelSubscription,
    error: StarlingError | undefined,
    reply: Frame | undefined,
  ): void {
    if (this.#subscriptions.get(subscription.channel) !== subscription) return;
    // A server that holds it already does not say where the client stands: asked again.
    if (error === undefined && !subscription.unsure) this.#hold(subscription, reply);
    else if (error?.temporary === false) this.#drop(subscription, error);
    // Without a connection the next one asks again.
    else if (this.#online) {
      if (error?.code === "timeout") subscription.unsure = true;
      this.#askLater(subscription, error);
    }
  }

  /** The server says later where the restored subscription stands. */
  #await(subscription: ChannelSubscription): void {
    const { clock, timeoutMs } = this.#options;
    subscription.recovering = true;
    subscription.retry = clock.setTimeout(() => {
      subscription.recovering = false;
      subscription.unsure = true;
      this.#ask(subscription);
    }, timeoutMs);
  }

  #askLater(subscription: ChannelSubscription, error?: StarlingError): void {
    const { clock } = this.#options;
    clock.clearTimeout(subscription.retry);
    subscription.retry = clock.setTimeout(
      () => this.#ask(subscription),
      subscription.backoff.next(error?.retryAfterMs),
    );
    if (error !== undefined) this.#options.mention(error);
  }

  /** Messages are missing and the server did not say so: asks for them. */
  #repair(subscription: ChannelSubscription, what: string): void {
    subscription.lost();
    subscription.unsure = true;
    // After a while, and not all clients at once: who finds this is not alone.
    this.#askLater(subscription);
    this.#options.report(
      new StarlingError(
        "out_of_order",
        `"${subscription.channel}": ${what}: the missing messages are requested`,
      ),
    );
  }

  /** @param frame says where the client stands */
  #hold(subscription: ChannelSubscription, frame: Frame = NOWHERE): void {
    this.#options.clock.clearTimeout(subscription.retry);
    const { told, whole } = subscription.hold(frame);
    this.#tell(subscription, "onSubscribed", told);
    if (!whole) this.#tellGap(subscription.channel, false, subscription.position);
  }

  #tellGap(channel: string, recovered: boolean, position: Position | undefined): void {
    const gap: Gap = { channel, recovered, ...position };
    this.#options.gap(gap);
    this.tell(channel, "onGap", gap);
  }

  /** @returns how many were told */
  #tell<Name extends NewsName>(
    { channel, handles }: ChannelSubscription,
    name: Name,
    news: News<Name>,
  ): number {
    let told = 0;
    for (const { options } of [...handles]) {
      const listener = options[name] as ((news: News<Name>) => unknown) | undefined;
      if (listener === undefined) continue;
      told++;
      this.#options.guard(`${name} of "${channel}"`, () => listener(news));
    }
    return told;
  }

  #leave(subscription: ChannelSubscription): void {
    if (this.#subscriptions.get(subscription.channel) !== subscription) return;
    this.#subscriptions.delete(subscription.channel);
    this.#options.clock.clearTimeout(subscription.retry);
    subscription.held = false;
    subscription.ready.reject(
      new StarlingError("closed", `subscribe to "${subscription.channel}": unsubscribed before it was ready`),
    );
    if (this.#online && !isServerChannel(subscription.channel)) this.#giveUp(subscription.channel);
  }

  #giveUp(channel: string, failed?: () => void): void {
    this.#options.command("unsubscribe", channel, undefined, (error) => {
      // not_subscribed is what was wanted; without a connection the next one gives it up.
      if (error === undefined || error.code === "not_subscribed" || !this.#online) return;
      failed?.();
      this.#options.mention(error);
    });
  }

  #drop(subscription: ChannelSubscription, error: StarlingError): void {
    const { channel, ready } = subscription;
    this.#subscriptions.delete(channel);
    this.#options.clock.clearTimeout(subscription.retry);
    subscription.held = false;
    const wasReady = ready.settled;
    ready.reject(error);
    const removal: Removal = { channel, code: error.code, message: error.message };
    // Who has `ready` is told by it.
    const told = [this.#options.removed(removal), ready.watched && !wasReady].includes(true);
    if (this.#tell(subscription, "onUnsubscribed", removal) === 0 && !told) this.#options.report(error);
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
