/**
 * A node's link to the bus: the publish and the subscribe connection, and the
 * knowledge whether what is sent on the one comes back on the other. Broker and
 * control plug into it by channel.
 *
 * Up means: the publish connection is prepared, every channel is subscribed, and
 * a probe came back since. An idle subscriber never notices a half-open link by
 * itself, so a probe goes round every few seconds.
 */

import type { Redis } from "ioredis";

import type { Log } from "../core/log.js";
import type { Stats } from "../core/stats.js";
import { StarlingError } from "../protocol/errors.js";
import { address, closeRedis, connectRedis, createRedisClient, isReady, toStarlingError } from "./client.js";
import type { RedisOptions } from "./client.js";
import { createKeys, type Keys } from "./keys.js";
import { Probe } from "./probe.js";

export interface RedisLinkOptions {
  readonly nodeId: string;
  readonly redis: RedisOptions;
  readonly probeIntervalMs: number;
  /** A probe that takes longer means that the link is down. */
  readonly probeTimeoutMs: number;
  readonly stats: Stats;
  readonly log: Log;
}

export interface BusMessage {
  readonly channel: string;
  readonly bytes: Buffer;
}

export interface RedisLink {
  readonly nodeId: string;
  readonly keys: Keys;
  readonly commandTimeoutMs: number;
  /** Why nothing can be sent now; undefined: the link is up. */
  readonly down: StarlingError | undefined;
  /** Before open(). What the handler throws is logged. The bytes are valid during the call. */
  hear(channel: string, handler: (bytes: Buffer) => void): void;
  /**
   * Before open(). Runs on every new publish connection before the link is up.
   * What it throws fails the first open(); later it is logged and tried again.
   */
  prepare(step: (publisher: Redis) => Promise<void>): void;
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
   * @throws StarlingError unavailable, unknown
   */
  run<T>(send: (publisher: Redis) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A step that failed on a good connection is tried again after this. */
const RETRY_MS = 500;

export function createRedisLink(options: RedisLinkOptions): RedisLink {
  return new Link(options);
}

class Link implements RedisLink {
  readonly nodeId: string;
  readonly keys: Keys;
  readonly commandTimeoutMs: number;

  readonly #options: RedisLinkOptions;
  readonly #publisher: Redis;
  readonly #subscriber: Redis;
  readonly #handlers = new Map<string, (bytes: Buffer) => void>();
  readonly #steps: ((publisher: Redis) => Promise<void>)[] = [];
  readonly #listeners: ((up: boolean) => void)[] = [];
  /** Of the present subscribe connection. */
  readonly #subscribed = new Set<string>();

  #users = 0;
  #opening: Promise<void> | undefined;
  /** Ends the wait of the first open(). */
  #opened: ((failure?: Error) => void) | undefined;
  #closed = false;
  #prepared = false;
  #preparing = false;
  #subscribing = false;
  readonly #probe: Probe;
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
    this.keys = createKeys(options.redis.prefix);
    this.commandTimeoutMs = options.redis.commandTimeoutMs;
    this.#publisher = createRedisClient(options.redis, "publish", options.log);
    this.#subscriber = createRedisClient(options.redis, "subscribe", options.log);
    const channel = this.keys.probe(options.nodeId);
    this.#probe = new Probe({
      timeoutMs: options.probeTimeoutMs,
      log: options.log,
      send: async (text) => void (await this.#publisher.publish(channel, text)),
      missing: (accepted) => this.#probeMissing(accepted),
    });
    this.hear(channel, (bytes) => this.#probeCame(bytes.toString("latin1")));
  }

  get down(): StarlingError | undefined {
    return this.#down;
  }

  hear(channel: string, handler: (bytes: Buffer) => void): void {
    this.#handlers.set(channel, handler);
  }

  prepare(step: (publisher: Redis) => Promise<void>): void {
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
    await Promise.all([connectRedis(this.#publisher, redis), connectRedis(this.#subscriber, redis)]);
    for (const step of this.#steps) await step(this.#publisher);
    this.#prepared = true;
    this.#watch();
    this.#ticks = setInterval(() => this.#advance(), probeIntervalMs);
    const patienceMs = redis.commandTimeoutMs + probeTimeoutMs;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#opened?.(
          new Error(
            `Redis at ${address(redis.url)} answers, but in ${patienceMs} ms nothing published to ` +
              `${this.keys.probe(this.nodeId)} came back: check its ACL for channels`,
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

  #watch(): void {
    this.#publisher.on("ready", () => this.#advance());
    this.#subscriber.on("ready", () => this.#advance());
    this.#publisher.on("close", () => {
      this.#prepared = false;
      this.#goDown("the publish connection closed");
    });
    this.#subscriber.on("close", () => {
      this.#subscribed.clear();
      this.#goDown("the subscribe connection closed");
    });
    this.#subscriber.on("messageBuffer", (channel: Buffer, bytes: Buffer) => {
      this.#probe.heard();
      try {
        this.#handlers.get(channel.toString())?.(bytes);
      } catch (error) {
        // Not into ioredis: it would end the process.
        this.#options.stats.sessionFaults++;
        this.#options.log.error({ err: error, channel: channel.toString() }, "a bus handler threw");
      }
    });
  }

  /** Does whatever comes next towards being up; called whenever something changed, and by the clock. */
  #advance(): void {
    if (this.#closed) return;
    if (isReady(this.#publisher) && !this.#prepared) void this.#prepareAgain();
    if (isReady(this.#subscriber) && !this.#complete()) void this.#subscribeAgain();
    if (this.#prepared && this.#complete()) this.#probe.start();
  }

  #complete(): boolean {
    return this.#subscribed.size === this.#handlers.size;
  }

  async #prepareAgain(): Promise<void> {
    if (this.#preparing) return;
    this.#preparing = true;
    try {
      for (const step of this.#steps) await step(this.#publisher);
      this.#prepared = isReady(this.#publisher);
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
      this.#retry(error, "subscribing to the bus failed");
      return;
    } finally {
      this.#subscribing = false;
    }
    this.#advance();
  }

  async #subscribe(): Promise<void> {
    const channels = [...this.#handlers.keys()].filter((channel) => !this.#subscribed.has(channel));
    if (channels.length === 0) return;
    const { stream } = this.#subscriber;
    await this.#subscriber.subscribe(...channels);
    // Another connection by now: it has none of these.
    if (this.#subscriber.stream !== stream || !isReady(this.#subscriber)) return;
    for (const channel of channels) this.#subscribed.add(channel);
  }

  #retry(error: unknown, message: string): void {
    if (this.#closed) return;
    this.#options.log.warn({ err: error }, message);
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#advance();
    }, RETRY_MS);
  }

  #probeCame(text: string): void {
    const tookMs = this.#probe.came(text);
    if (tookMs === undefined) return;
    this.#options.stats.bridgeRoundTripSeconds.observe(tookMs / 1000);
    this.#goUp();
  }

  /** Reconnects the side that failed, and only that: the other may be receiving. */
  #probeMissing(accepted: boolean): void {
    const { probeTimeoutMs } = this.#options;
    this.#goDown(`a probe ${accepted ? "did not come back" : "was not accepted"} in ${probeTimeoutMs} ms`);
    (accepted ? this.#subscriber : this.#publisher).disconnect(true);
  }

  #goUp(): void {
    this.#opened?.();
    if (this.#down === undefined) return;
    this.#down = undefined;
    this.#options.log.info({ redis: address(this.#options.redis.url) }, "the link to Redis is up");
    for (const listener of this.#listeners) listener(true);
  }

  #goDown(reason: string): void {
    this.#probe.drop();
    if (this.#down !== undefined) return;
    this.#down = new StarlingError("unavailable", `Redis is away (${reason}): nothing was sent`);
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
    const [first] = messages;
    const down = this.#down;
    if (down !== undefined) return Promise.resolve(messages.map(() => down));
    if (first === undefined) return Promise.resolve([]);
    if (messages.length > 1) return this.#publishMany(messages);
    return this.#publisher.publish(first.channel, first.bytes).then(
      () => [undefined],
      (error: unknown) => [this.#failure(error)],
    );
  }

  async #publishMany(messages: readonly BusMessage[]): Promise<readonly (StarlingError | undefined)[]> {
    const pipeline = this.#publisher.pipeline();
    for (const { channel, bytes } of messages) pipeline.publish(channel, bytes);
    try {
      const results = await pipeline.exec();
      return messages.map((_, i) => {
        const error = results?.[i]?.[0];
        return error === null ? undefined : this.#failure(error);
      });
    } catch (error) {
      const failure = this.#failure(error);
      return messages.map(() => failure);
    }
  }

  async run<T>(send: (publisher: Redis) => Promise<T>): Promise<T> {
    if (this.#down !== undefined) throw this.#down;
    try {
      return await send(this.#publisher);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): StarlingError {
    const failure = toStarlingError(error, true);
    // Ask now whether the link still works, rather than at the next tick.
    if (failure.code === "unknown") this.#advance();
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
    await Promise.all([closeRedis(this.#publisher), closeRedis(this.#subscriber)]);
  }
}
