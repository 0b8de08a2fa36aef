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

import { Cluster, type Redis } from "ioredis";

import type { Log } from "../core/log.js";
import type { Stats } from "../core/stats.js";
import { StarlingError } from "../core/errors.js";
import {
  closeRedis,
  connectRedis,
  createRedisClient,
  isReady,
  mastersOf,
  toStarlingError,
  type RedisClient,
  type RedisOptions,
} from "./client.js";
import { createClusterSubscriber } from "./cluster-subscriber.js";
import { Deadlines } from "./deadlines.js";
import { createKeys, type Keys } from "./keys.js";
import { LinkChannels } from "./link-channels.js";
import { connectMasters, disconnectPublisher, publishAll, publishOne, type BusMessage } from "./publisher.js";
import { isRefusal, requireRights, startFailure } from "./rights.js";
import { createSubscriber, type Subscriber, type SubscriberOptions } from "./subscriber.js";
import { address } from "./target.js";

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
  /** What scripts publish with: on a Cluster all channels but those of hearPlain are sharded. */
  readonly publishCommand: "PUBLISH" | "SPUBLISH";
  /** Before open(). What the handler throws is logged. The bytes are valid during the call. */
  hear(channel: string, handler: (bytes: Buffer) => void): void;
  /** As hear, for a channel that applications PUBLISH to, on a Cluster to any of its nodes. */
  hearPlain(channel: string, handler: (bytes: Buffer) => void): void;
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
  readonly #publisher: RedisClient;
  /** The publisher, where it is one. */
  readonly #cluster: Cluster | undefined;
  readonly #subscriber: Subscriber;
  readonly #deadlines: Deadlines;
  readonly #channels: LinkChannels;
  readonly #steps: ((publisher: RedisClient) => Promise<void>)[] = [];
  readonly #listeners: ((up: boolean) => void)[] = [];

  #users = 0;
  #opening: Promise<void> | undefined;
  /** Ends the wait of the first open(). */
  #opened: ((failure?: Error) => void) | undefined;
  #closed = false;
  #prepared = false;
  #preparing = false;
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
    this.#publisher = createRedisClient(options.redis, "publish", options.log);
    this.#cluster = this.#publisher instanceof Cluster ? this.#publisher : undefined;
    this.keys = createKeys(options.redis.prefix, this.#cluster !== undefined);
    this.#deadlines = new Deadlines({
      commandTimeoutMs: this.commandTimeoutMs,
      masters: () => mastersOf(this.#publisher),
      log: options.log,
    });
    this.#channels = new LinkChannels({
      nodeId: options.nodeId,
      keys: this.keys,
      sharded: this.#cluster !== undefined,
      probeTimeoutMs: options.probeTimeoutMs,
      stats: options.stats,
      log: options.log,
      send: async (channel, text) => void (await publishOne(this.#publisher, channel, text)),
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
        if (this.#cluster !== undefined) this.#advanceSoon();
      },
      message: (channel, bytes) => this.#channels.came(channel, bytes),
    };
    this.#subscriber =
      this.#cluster === undefined
        ? createSubscriber(subscriberOptions)
        : createClusterSubscriber(subscriberOptions, this.#cluster);
  }

  get down(): StarlingError | undefined {
    return this.#down;
  }

  get deadlineMs(): number {
    return this.#deadlines.nextMs;
  }

  get publishCommand(): "PUBLISH" | "SPUBLISH" {
    return this.#cluster === undefined ? "PUBLISH" : "SPUBLISH";
  }

  hear(channel: string, handler: (bytes: Buffer) => void): void {
    this.#channels.hear(channel, handler);
  }

  hearPlain(channel: string, handler: (bytes: Buffer) => void): void {
    this.#channels.hearPlain(channel, handler);
  }

  prepare(step: (publisher: RedisClient) => Promise<void>): void {
    this.#steps.push(step);
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
    await Promise.all([connectRedis(this.#publisher, redis), this.#subscriber.connect()]);
    await this.#firstSteps();
    this.#prepared = true;
    this.#watch();
    this.#ticks = setInterval(() => {
      this.#advance();
      if (this.#prepared) this.#deadlines.learnAgain();
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

  async #firstSteps(): Promise<void> {
    const { redis } = this.#options;
    try {
      if (this.#cluster !== undefined) await connectMasters(this.#cluster);
      await requireRights(this.#publisher, redis, this.#cluster !== undefined);
      await this.#runSteps();
    } catch (error) {
      throw startFailure(error, redis.url);
    }
  }

  async #runSteps(): Promise<void> {
    if (this.#cluster !== undefined) await connectMasters(this.#cluster);
    await this.#deadlines.learn();
    for (const step of this.#steps) await step(this.#publisher);
  }

  #watch(): void {
    this.#publisher.on("ready", () => this.#advance());
    this.#publisher.on("close", () => this.#publisherClosed("the publish connection closed"));
    this.#cluster?.on("-node", ({ options }: Redis) => {
      if (options.readOnly === true) return;
      this.#publisherClosed(`the publish connection to ${options.host}:${options.port} closed`);
      this.#advanceSoon();
    });
  }

  #publisherClosed(reason: string): void {
    this.#prepared = false;
    this.#goDown(reason);
  }

  /** Does whatever comes next towards being up; called whenever something changed, and by the clock. */
  #advance(): void {
    if (this.#closed) return;
    if (isReady(this.#publisher) && !this.#prepared) void this.#prepareAgain();
    if (!this.#subscriber.complete) void this.#subscribeAgain();
    if (!this.#prepared || !this.#subscriber.complete) return;
    this.#channels.probe();
  }

  async #prepareAgain(): Promise<void> {
    if (this.#preparing) return;
    this.#preparing = true;
    try {
      await this.#runSteps();
      this.#prepared = isReady(this.#publisher) && mastersOf(this.#publisher).every(isReady);
    } catch (error) {
      this.#retry(error, "the publish connection could not be prepared");
      return;
    } finally {
      this.#preparing = false;
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
    if (isRefusal(error)) this.#opened?.(startFailure(error, this.#options.redis.url) as Error);
  }

  #probePassed(tookMs: number): void {
    this.#options.stats.bridgeRoundTripSeconds.observe(tookMs / 1000);
    if (!this.#prepared || !this.#subscriber.complete) return;
    if (this.#channels.fine) this.#goUp();
  }

  /** Reconnects the side that failed, and only that: the other may be receiving. */
  #probeMissing(channel: string, slot: number, accepted: boolean): void {
    const { probeTimeoutMs } = this.#options;
    this.#goDown(`a probe ${accepted ? "did not come back" : "was not accepted"} in ${probeTimeoutMs} ms`);
    if (accepted) this.#subscriber.reconnect(channel);
    else disconnectPublisher(this.#publisher, slot);
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
      return publishOne(this.#publisher, first.channel, first.bytes).then(
        () => PUBLISHED,
        (error: unknown) => [this.#failure(error)],
      );
    }
    return publishAll(this.#publisher, messages, (error) => this.#failure(error));
  }

  async run<T>(send: (publisher: RedisClient) => Promise<T>): Promise<T> {
    if (this.#down !== undefined) throw this.#down;
    try {
      return await send(this.#publisher);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  runInTime<T>(send: (publisher: RedisClient) => Promise<T>): Promise<T> {
    return this.run((publisher) => this.#deadlines.run(() => send(publisher)));
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
    await Promise.all([closeRedis(this.#publisher), this.#subscriber.close()]);
  }
}
