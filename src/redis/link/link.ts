/**
 * A node's link to the bus: the publish and the subscribe connections, and the
 * knowledge whether what is sent on the one comes back on the other. Broker and
 * control plug into it by channel.
 *
 * Up means: the publish connections are prepared, every channel is subscribed, and
 * a probe came back since. An idle subscriber never notices a half-open link by
 * itself, so a probe goes round every few seconds; on a Cluster one by each slot
 * that has channels of ours, and the link is up if all of them pass.
 */

import type { Log } from "../../core/log.js";
import type { Stats } from "../../core/stats.js";
import { StarlingError } from "../../core/errors.js";
import { isReady, mastersOf, type RedisClient } from "./client.js";
import { toStarlingError } from "./command-failure.js";
import { type RedisOptions } from "./redis-options.js";
import { createClusterSubscriber } from "./cluster-subscriber.js";
import { Deadlines } from "./deadlines.js";
import { createKeys, type Keys } from "./keys.js";
import { LinkChannels } from "./link-channels.js";
import { Publisher, publishAll, publishOne, type BusMessage } from "./publisher.js";
import { checkAcl, isAclRefusal, explainStartFailure } from "./acl-check.js";
import { EVERY_USE, type RedisUse } from "./needed-commands.js";
import { createSubscriber, type Subscriber, type SubscriberOptions } from "./subscriber.js";
import { address } from "./redis-url.js";

export interface RedisLinkOptions {
  readonly nodeId: string;
  readonly redis: RedisOptions;
  readonly probeIntervalMs: number;
  /** A probe that takes longer means that the link is down. */
  readonly probeTimeoutMs: number;
  readonly stats: Stats;
  readonly log: Log;
}

export interface RedisLink {
  readonly nodeId: string;
  readonly keys: Keys;
  readonly commandTimeoutMs: number;
  /** Why nothing can be sent now; undefined: the link is up. */
  readonly down: StarlingError | undefined;
  /** For a script that runInTime is to call now. */
  readonly deadlineMs: number;
  /** Grows by reloads, and never shrinks: channels keep their rules as long as they have subscribers. */
  readonly use: RedisUse;
  /** What scripts publish with: on a Cluster all channels but those of subscribePlain are sharded. */
  readonly publishCommand: "PUBLISH" | "SPUBLISH";
  /** Before open(). What the handler throws is logged. The bytes are valid during the call. */
  subscribe(channel: string, handler: (bytes: Buffer) => void): void;
  /** As subscribe, for a channel that applications PUBLISH to, on a Cluster to any of its nodes. */
  subscribePlain(channel: string, handler: (bytes: Buffer) => void): void;
  /**
   * Before open(). Runs on every new publish connection before the link is up.
   * What it throws fails the first open(); later it is logged and tried again.
   */
  prepare(step: (publisher: RedisClient) => Promise<void>): void;
  /** Called at once if the link is up already. */
  onChange(listener: (up: boolean) => void): void;
  /**
   * Resolves when the link is up. Each open() is undone by one close(); the last
   * one closes the connections.
   * @throws Error REDIS_UNREACHABLE, or what a prepare step threw
   */
  open(): Promise<void>;
  /** Never rejects. @returns for each message its failure, or undefined: Redis has it */
  publish(messages: readonly BusMessage[]): Promise<readonly (StarlingError | undefined)[]>;
  /**
   * Gives commands to the publish connection.
   * @throws StarlingError unavailable, outcome_unknown
   */
  run<T>(send: (publisher: RedisClient) => Promise<T>): Promise<T>;
  /** As run, for scripts that do nothing after `deadlineMs`. */
  runInTime<T>(send: (publisher: RedisClient) => Promise<T>): Promise<T>;
  /**
   * Makes sure that the user may do what these need, and what was not asked for before.
   * @throws Error naming what it may not do; what the client rejects with
   */
  useMore(use: RedisUse): Promise<void>;
  close(): Promise<void>;
}

/** A step that failed on a good connection is tried again after this. */
const RETRY_MS = 500;
const PUBLISHED = [undefined] as const;

export function createRedisLink(options: RedisLinkOptions): RedisLink {
  return new Link(options);
}

class Link implements RedisLink {
  readonly nodeId: string;
  readonly keys: Keys;
  readonly commandTimeoutMs: number;

  readonly #options: RedisLinkOptions;
  readonly #publisher: Publisher;
  /** The publisher's. */
  readonly #client: RedisClient;
  readonly #subscriber: Subscriber;
  readonly #deadlines: Deadlines;
  readonly #channels: LinkChannels;
  readonly #listeners: ((up: boolean) => void)[] = [];

  #use: RedisUse;
  #users = 0;
  #opening: Promise<void> | undefined;
  /** Ends the wait of the first open(). */
  #opened: ((failure?: Error) => void) | undefined;
  #closed = false;
  #subscribing = false;
  /** Ends when the subscribing that is under way does. Never rejects. */
  #subscribed = Promise.resolve();
  #ticks: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  /** One for all that is refused until the link is up: a stack each would be the cost of an outage. */
  #down: StarlingError | undefined = new StarlingError(
    "unavailable",
    "the link to Redis is not open: nothing was sent",
  );

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.commandTimeoutMs = options.redis.commandTimeoutMs;
    this.#use = options.redis.use ?? EVERY_USE;
    this.#publisher = new Publisher({
      redis: options.redis,
      log: options.log,
      ready: () => this.#advance(),
      lost: (reason) => this.#goDown(reason),
      masterLost: () => this.#advanceSoon(),
    });
    const { client, cluster } = this.#publisher;
    this.#client = client;
    this.keys = createKeys(options.redis.prefix, cluster !== undefined);
    this.#deadlines = new Deadlines({
      commandTimeoutMs: this.commandTimeoutMs,
      masters: () => mastersOf(client),
      log: options.log,
    });
    this.#publisher.prepare(() => this.#deadlines.readClocks());
    this.#channels = new LinkChannels({
      nodeId: options.nodeId,
      keys: this.keys,
      sharded: cluster !== undefined,
      probeTimeoutMs: options.probeTimeoutMs,
      stats: options.stats,
      log: options.log,
      send: async (channel, text) => void (await publishOne(client, channel, text)),
      passed: (tookMs) => this.#probePassed(tookMs),
      refused: (error) => this.#refused(error),
      missing: (channel, slot, accepted) => this.#probeMissing(channel, slot, accepted),
    });
    const subscriberOptions: SubscriberOptions = {
      redis: options.redis,
      log: options.log,
      wanted: this.#channels.wanted,
      ready: () => this.#advance(),
      lost: (reason) => {
        this.#goDown(reason);
        // Slots may be elsewhere now: no connection of ours would tell when.
        if (cluster !== undefined) this.#advanceSoon();
      },
      message: (channel, bytes) => this.#channels.receive(channel, bytes),
    };
    this.#subscriber =
      cluster === undefined
        ? createSubscriber(subscriberOptions)
        : createClusterSubscriber(subscriberOptions, cluster);
  }

  get down(): StarlingError | undefined {
    return this.#down;
  }

  get deadlineMs(): number {
    return this.#deadlines.nextMs;
  }

  get use(): RedisUse {
    return this.#use;
  }

  get publishCommand(): "PUBLISH" | "SPUBLISH" {
    return this.#publisher.cluster === undefined ? "PUBLISH" : "SPUBLISH";
  }

  subscribe(channel: string, handler: (bytes: Buffer) => void): void {
    this.#channels.subscribe(channel, handler);
  }

  subscribePlain(channel: string, handler: (bytes: Buffer) => void): void {
    this.#channels.subscribePlain(channel, handler);
  }

  prepare(step: (publisher: RedisClient) => Promise<void>): void {
    this.#publisher.prepare(step);
  }

  onChange(listener: (up: boolean) => void): void {
    this.#listeners.push(listener);
    if (this.#down === undefined) listener(true);
  }

  async open(): Promise<void> {
    this.#users++;
    try {
      await (this.#opening ??= this.#open());
      // A later user brought channels of its own.
      if (this.#down === undefined) await this.#subscribe();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { redis, probeTimeoutMs, probeIntervalMs } = this.#options;
    await Promise.all([this.#publisher.connect(), this.#subscriber.connect()]);
    await this.#publisher.prepareFirst();
    this.#ticks = setInterval(() => {
      this.#advance();
      if (this.#publisher.prepared) this.#deadlines.rereadClocks();
    }, probeIntervalMs);
    const patienceMs = redis.commandTimeoutMs + probeTimeoutMs;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#opened?.(
          new Error(
            `Redis at ${address(redis.url)} answers, but nothing came back within ${patienceMs} ms that was published to ` +
              `${this.#channels.notFine.join(" and ")}: check its ACL for channels`,
          ),
        );
      }, patienceMs);
      this.#opened = (failure) => {
        clearTimeout(timer);
        this.#opened = undefined;
        if (failure === undefined) resolve();
        else reject(failure);
      };
      this.#advance();
    });
  }

  /** Does whatever comes next towards being up; called whenever something changed, and by the clock. */
  #advance(): void {
    if (this.#closed) return;
    if (isReady(this.#client) && !this.#publisher.prepared) void this.#prepareAgain();
    if (!this.#subscriber.complete) void this.#subscribeAgain();
    if (!this.#publisher.prepared || !this.#subscriber.complete) return;
    this.#channels.probe();
  }

  async #prepareAgain(): Promise<void> {
    try {
      if (!(await this.#publisher.prepareAgain())) return;
    } catch (error) {
      this.#retry(error, "the publish connection could not be prepared");
      return;
    }
    this.#advance();
  }

  async #subscribeAgain(): Promise<void> {
    if (this.#subscribing) return;
    this.#subscribing = true;
    try {
      await this.#subscribe();
    } catch (error) {
      this.#refused(error);
      this.#retry(error, "subscribing to the bus failed");
      return;
    } finally {
      this.#subscribing = false;
    }
    if (this.#subscriber.complete) this.#advance();
  }

  /** One after the other: both would make the same connections. */
  #subscribe(): Promise<void> {
    const done = this.#subscribed.then(async () => {
      if (!this.#subscriber.complete) await this.#subscriber.subscribe();
    });
    this.#subscribed = done.catch(() => undefined);
    return done;
  }

  #retry(error: unknown, message: string): void {
    if (this.#closed) return;
    this.#options.log.warn({ err: error }, message);
    this.#advanceSoon();
  }

  #advanceSoon(): void {
    if (this.#closed) return;
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#advance();
    }, RETRY_MS);
  }

  /** Trying again does not help who may not: that ends the first open(). */
  #refused(error: unknown): void {
    if (isAclRefusal(error)) this.#opened?.(explainStartFailure(error, this.#options.redis.url) as Error);
  }

  #probePassed(tookMs: number): void {
    this.#options.stats.bridgeRoundTripSeconds.observe(tookMs / 1000);
    if (!this.#publisher.prepared || !this.#subscriber.complete) return;
    if (this.#channels.fine) this.#goUp();
  }

  /** Reconnects the side that failed, and only that: the other may be receiving. */
  #probeMissing(channel: string, slot: number, accepted: boolean): void {
    const { probeTimeoutMs } = this.#options;
    this.#goDown(`a probe ${accepted ? "did not come back" : "was not accepted"} in ${probeTimeoutMs} ms`);
    if (accepted) this.#subscriber.reconnect(channel);
    else this.#publisher.reconnect(slot);
  }

  #goUp(): void {
    this.#opened?.();
    if (this.#down === undefined) return;
    this.#down = undefined;
    this.#options.log.info({ redis: address(this.#options.redis.url) }, "the link to Redis is up");
    for (const listener of this.#listeners) listener(true);
  }

  #goDown(reason: string): void {
    this.#channels.drop();
    if (this.#down !== undefined) return;
    this.#down = new StarlingError("unavailable", `Redis is unreachable (${reason}): nothing was sent`);
    if (!this.#closed) {
      this.#options.stats.bridgeReconnects++;
      this.#options.log.warn(
        { redis: address(this.#options.redis.url), reason },
        "the link to Redis is down",
      );
    }
    for (const listener of this.#listeners) listener(false);
  }

  publish(messages: readonly BusMessage[]): Promise<readonly (StarlingError | undefined)[]> {
    const down = this.#down;
    if (down !== undefined) return Promise.resolve(messages.map(() => down));
    const [first] = messages;
    // Nearly every flush is one message.
    if (first !== undefined && messages.length === 1) {
      return publishOne(this.#client, first.channel, first.bytes).then(
        () => PUBLISHED,
        (error: unknown) => [this.#failure(error)],
      );
    }
    return publishAll(this.#client, messages, (error) => this.#failure(error));
  }

  async run<T>(send: (publisher: RedisClient) => Promise<T>): Promise<T> {
    if (this.#down !== undefined) throw this.#down;
    try {
      return await send(this.#client);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  runInTime<T>(send: (publisher: RedisClient) => Promise<T>): Promise<T> {
    return this.run((publisher) => this.#deadlines.run(() => send(publisher)));
  }

  async useMore(more: RedisUse): Promise<void> {
    const { history, presence, ingestChannel } = this.#use;
    const use = { history: history || more.history, presence: presence || more.presence, ingestChannel };
    if (use.history === history && use.presence === presence) return;
    if (this.#down !== undefined) throw this.#down;
    await checkAcl(this.#client, { ...this.#options.redis, use }, this.#publisher.cluster !== undefined);
    this.#use = use;
  }

  #failure(error: unknown): StarlingError {
    const failure = toStarlingError(error, true);
    // Ask now whether the link still works, rather than at the next tick.
    if (failure.code === "outcome_unknown") this.#advance();
    return failure;
  }

  async close(): Promise<void> {
    this.#users--;
    if (this.#users > 0 || this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ticks);
    clearTimeout(this.#retryTimer);
    this.#opened?.(new Error("the link to Redis was closed before it was up"));
    this.#goDown("this node is stopping");
    await Promise.all([this.#publisher.close(), this.#subscriber.close()]);
  }
}
