import type { Backoff } from "./backoff.js";
import type { Clock, Timer } from "./clock.js";
import type { Settle } from "./commands.js";
import { StarlingError, messageOf } from "./error.js";
import type { Frame } from "./frames.js";
import type { Handler, Message, Removal, Subscription, SubscribeOptions } from "./types.js";
import { isServerChannel } from "../protocol/channel-name.js";

export interface SubscriptionsOptions {
  readonly clock: Clock;
  newBackoff(): Backoff;
  /** On the open connection. Settled before the connection's end is told. */
  command(action: "subscribe" | "unsubscribe", channel: string, settle: Settle): void;
  /** Runs a function of the application's. */
  guard(name: string, run: () => unknown): void;
  /** A subscription ended that the application did not end. @returns whether anyone was told */
  removed(removal: Removal): boolean;
  report(error: StarlingError): void;
  /** As report, for what the client itself puts right: only to who listens. */
  mention(error: StarlingError): void;
}

interface Handle {
  readonly handler: Handler<never>;
  readonly options: SubscribeOptions;
}

/** Resolved, rejected or still open. */
class Ready {
  settled = false;
  resolve!: () => void;
  reject!: (error: StarlingError) => void;
  readonly promise: Promise<void>;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = () => ((this.settled = true), resolve());
      this.reject = (error) => ((this.settled = true), reject(error));
    });
    // Who does not look at `ready` is told by events: Node must not end the process for it.
    this.promise.catch(() => undefined);
  }
}

/** One channel that the application wants, with everyone who listens to it. */
interface Entry {
  readonly channel: string;
  readonly handles: Set<Handle>;
  readonly backoff: Backoff;
  /** Whether the open connection's server holds the subscription. */
  held: boolean;
  ready: Ready;
  retry: Timer;
}

/** More at once could exceed what a node lets wait while it checks rights: that closes the connection. */
const ASKED_AT_ONCE = 100;

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
    let entry = this.#entries.get(channel);
    if (entry === undefined) {
      const backoff = this.#options.newBackoff();
      entry = { channel, handles: new Set(), backoff, held: false, ready: new Ready(), retry: undefined };
      this.#entries.set(channel, entry);
      if (this.#online) this.#ask(entry);
    }
    const handle: Handle = { handler, options };
    entry.handles.add(handle);
    const { handles, ready } = entry;
    const own = entry;
    return {
      channel,
      ready: ready.promise,
      get subscribed() {
        return own.held && handles.has(handle);
      },
      unsubscribe: () => {
        if (handles.delete(handle) && handles.size === 0) this.#leave(own);
      },
    };
  }

  deliver(channel: string, message: Message<never>): void {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return;
    // A copy: handlers may add and take off others while they are called.
    for (const { handler } of [...entry.handles]) {
      this.#options.guard(`the handler of "${channel}"`, () => handler(message));
    }
  }

  /**
   * A connection is ready. Asks, all at once, for what it does not hold yet, and
   * gives up what the session brought along and nobody wants any more.
   */
  online(restored: Iterable<string>): void {
    this.#online = true;
    const held = new Set(restored);
    for (const entry of [...this.#entries.values()]) {
      if (held.has(entry.channel)) this.#hold(entry);
      else this.#ask(entry);
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
      entry.held = false;
      if (entry.ready.settled) entry.ready = new Ready();
    }
  }

  /** The server took a subscription away. */
  taken(channel: string, error: StarlingError): void {
    const entry = this.#entries.get(channel);
    if (entry !== undefined) this.#drop(entry, error);
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
    this.#options.command("subscribe", entry.channel, (error) => {
      this.#asked--;
      this.#answered(entry, error);
      while (this.#asked < ASKED_AT_ONCE && this.#backlog.length > 0) this.#ask(this.#backlog.shift()!);
    });
  }

  #answered(entry: Entry, error: StarlingError | undefined): void {
    if (this.#entries.get(entry.channel) !== entry) return;
    if (error === undefined) this.#hold(entry);
    else if (!error.temporary) this.#drop(entry, error);
    // Without a connection the next one asks again.
    else if (this.#online) this.#askLater(entry, error);
  }

  #askLater(entry: Entry, error: StarlingError): void {
    const delayMs = entry.backoff.next(error.retryAfterMs);
    this.#options.mention(error);
    entry.retry = this.#options.clock.setTimeout(() => this.#ask(entry), delayMs);
  }

  #hold(entry: Entry): void {
    entry.held = true;
    entry.backoff.reset();
    entry.ready.resolve();
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

  #giveUp(channel: string): void {
    this.#options.command("unsubscribe", channel, (error) => {
      // not_subscribed is what was wanted; without a connection the next one gives it up.
      if (error !== undefined && error.code !== "not_subscribed" && this.#online)
        this.#options.mention(error);
    });
  }

  #drop(entry: Entry, error: StarlingError): void {
    const { channel, handles, ready } = entry;
    this.#entries.delete(channel);
    this.#options.clock.clearTimeout(entry.retry);
    entry.held = false;
    ready.reject(error);
    const removal: Removal = { channel, code: error.code, message: error.message };
    let told = this.#options.removed(removal);
    for (const { options } of handles) {
      if (options.onUnsubscribed === undefined) continue;
      told = true;
      this.#options.guard(`onUnsubscribed of "${channel}"`, () => options.onUnsubscribed!(removal));
    }
    if (!told) this.#options.report(error);
  }
}

/** An `unsubscribed` frame as an error. */
export function removalOf(frame: Frame): StarlingError {
  return new StarlingError(frame["code"] as StarlingError["code"], messageOf(frame["message"]), {
    sent: true,
  });
}
