/** A node that starts before its Redis waits for it. */

import { silentLog, type Log } from "../../core/log.js";
import { closeRedis, createRedisClient, isCluster, mastersOf } from "./client.js";
import { connectRedis, troubleOfCluster } from "./connect.js";
import { type RedisOptions } from "./redis-options.js";
import { isUnreachable, unreachable } from "./connect-failure.js";
import { connectMasters } from "./publisher.js";
import { isAclRefusal } from "./acl-check.js";
import { troubleOf } from "./server-state.js";
import { address } from "./redis-url.js";

export interface StartWaitOptions {
  readonly redis: RedisOptions;
  /** 0: as long as it takes. One attempt is always made. */
  readonly timeoutMs: number;
  readonly log: Log;
  /** Called after each attempt that failed and will be repeated. */
  readonly waiting: (reason: string) => Promise<void>;
}

const RETRY_FIRST_MS = 100;
const RETRY_MOST_MS = 2_000;
/** The same reason is logged again after this, another one after the second. */
const REPEAT_LOG_MS = 30_000;
const CHANGE_LOG_MS = 5_000;

/**
 * Resolves when Redis can be used. Faults that only a person can mend end the wait at once: a password, an ACL,
 * a certificate, a database that is not there.
 * @throws RedisUnreachable
 */
export async function waitForRedis({ redis, timeoutMs, log, waiting }: StartWaitOptions): Promise<void> {
  const startedMs = performance.now();
  let logged = { kind: "", atMs: -Infinity };
  for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(RETRY_MOST_MS, delayMs * 2)) {
    try {
      await tryOnce(redis);
      if (logged.kind !== "") {
        const waitedMs = Math.round(performance.now() - startedMs);
        log.info({ redis: address(redis.url), waitedMs }, "Redis is reachable: starting");
      }
      return;
    } catch (error) {
      if (!isUnreachable(error) || !error.temporary) throw error;
      const nowMs = performance.now();
      const leftMs = timeoutMs === 0 ? Infinity : startedMs + timeoutMs - nowMs;
      if (leftMs <= 0) {
        error.message += `; gave up after ${timeoutMs} ms (redisStartTimeoutMs)`;
        throw error;
      }
      const { reason, hint } = error;
      await waiting(reason);
      // How long the loading still takes is no news.
      const kind = reason.replace(/\d+/g, "");
      if (nowMs - logged.atMs >= (kind === logged.kind ? REPEAT_LOG_MS : CHANGE_LOG_MS)) {
        logged = { kind, atMs: nowMs };
        const limit = timeoutMs === 0 ? {} : { givesUpInMs: Math.round(leftMs) };
        log.warn({ redis: address(redis.url), reason, hint, ...limit }, "waiting for Redis");
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(delayMs, leftMs)));
    }
  }
}

/** @throws RedisUnreachable */
async function tryOnce(options: RedisOptions): Promise<void> {
  const attempt = { ...options, enableReadyCheck: false };
  const client = createRedisClient(attempt, "state", silentLog);
  try {
    const trouble = await troubleOfCluster(attempt);
    if (trouble !== undefined) throw trouble;
    await connectRedis(client, attempt);
    if (isCluster(client)) await connectMasters(client);
    for (const master of mastersOf(client)) {
      const trouble = await troubleOf(master, isCluster(client));
      if (trouble !== undefined) throw trouble;
    }
  } catch (error) {
    // The check of its rights names all that is missing.
    if (isUnreachable(error)) throw error;
    if (!isAclRefusal(error)) throw unreachable(error, options);
  } finally {
    await closeRedis(client);
  }
}
