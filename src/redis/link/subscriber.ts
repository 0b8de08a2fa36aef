/** The subscribe side of a link to one Redis: a connection, and what is subscribed on it. */

import type { Redis } from "ioredis";

import type { Log } from "../../core/log.js";
import { closeRedis, createRedisClient, isReady } from "./client.js";
import { connectRedis } from "./connect.js";
import { type RedisOptions } from "./redis-options.js";

export interface Wanted {
  /** Published with PUBLISH by others, so on a Cluster too no sharded channel. */
  readonly plain: boolean;
  /** Where on a Cluster it is heard. */
  readonly slot: number;
}

export interface SubscriberOptions {
  readonly redis: RedisOptions;
  readonly log: Log;
  /** By channel. May grow. */
  readonly wanted: ReadonlyMap<string, Wanted>;
  /** A connection can be subscribed on. */
  ready(): void;
  /** Something is not subscribed any more. */
  lost(reason: string): void;
  message(channel: string, bytes: Buffer): void;
}

export interface Subscriber {
  /** Whether all that is wanted is subscribed. */
  readonly complete: boolean;
  /** @throws Error REDIS_UNREACHABLE */
  connect(): Promise<void>;
  /** Subscribes what is missing and can be subscribed now. Rejects if Redis refuses it. */
  subscribe(): Promise<void>;
  /** Ends the connection that the channel comes over; another is made. */
  reconnect(channel: string): void;
  close(): Promise<void>;
}

export function createSubscriber(options: SubscriberOptions): Subscriber {
  const { wanted } = options;
  // Not a Cluster's: that is cluster-subscriber.ts.
  const redis = createRedisClient(options.redis, "subscribe", options.log) as Redis;
  /** Of the present connection. */
  const subscribed = new Set<string>();

  redis.on("ready", () => options.ready());
  redis.on("close", () => {
    subscribed.clear();
    options.lost("the subscribe connection closed");
  });
  redis.on("messageBuffer", (channel: Buffer, bytes: Buffer) => options.message(channel.toString(), bytes));

  return {
    get complete() {
      return subscribed.size === wanted.size;
    },
    connect: () => connectRedis(redis, options.redis),
    async subscribe() {
      if (!isReady(redis)) return;
      const channels = [...wanted.keys()].filter((channel) => !subscribed.has(channel));
      if (channels.length === 0) return;
      const { stream } = redis;
      await redis.subscribe(...channels);
      // Another connection by now: it has none of these.
      if (redis.stream !== stream || !isReady(redis)) return;
      for (const channel of channels) subscribed.add(channel);
    },
    reconnect: () => redis.disconnect(true),
    close: () => closeRedis(redis),
  };
}
