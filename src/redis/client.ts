/** How Starling connects to Redis: the one place that knows ioredis's options and its errors. */

import { Redis, ReplyError } from "ioredis";

import type { Log } from "../core/log.js";
import { StarlingError } from "../protocol/errors.js";
import { limited } from "./limited.js";

export interface RedisOptions {
  /** `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, or a socket's path. */
  readonly url: string;
  /**
   * Begins every key and channel: "ws:" by default. Redis's channels ignore the
   * database number, so two fleets on one Redis need two prefixes.
   */
  readonly prefix: string;
  /** After this long without an answer a command counts as lost. */
  readonly commandTimeoutMs: number;
  /** For the TCP connection alone; commandTimeoutMs if absent. */
  readonly connectTimeoutMs?: number | undefined;
}

export type RedisRole = "publish" | "state" | "subscribe";

const RETRY_FIRST_MS = 50;
const RETRY_MOST_MS = 2_000;
/** A half-open link never answers a FIN: the socket is destroyed after this. */
const DISCONNECT_TIMEOUT_MS = 100;
const ERROR_LOG_INTERVAL_MS = 5_000;

/**
 * A client that has not connected yet: connectRedis does. From then on it
 * reconnects forever, and nothing is ever queued or sent again behind the
 * caller's back.
 */
export function createRedisClient(options: RedisOptions, role: RedisRole, log: Log): Redis {
  checkUrl(options.url);
  const redis = new Redis(options.url, {
    lazyConnect: true,
    connectionName: `starling:${role}`,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // The link subscribes by itself: it must know when that is done.
    autoResubscribe: false,
    // 0: what is unanswered when the connection closes fails then. From 1 on it
    // waits, and if the reconnect works it is forgotten and never settles.
    maxRetriesPerRequest: 0,
    commandTimeout: options.commandTimeoutMs,
    connectTimeout: options.connectTimeoutMs ?? options.commandTimeoutMs,
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    retryStrategy: retryDelayMs,
  });
  const report = limited(ERROR_LOG_INTERVAL_MS, (suppressed, error: Error) => {
    log.warn(
      { redis: address(options.url), role, suppressed, error: explain(error, options.url) },
      "Redis connection",
    );
  });
  // Without a listener ioredis prints errors itself, arguments included.
  redis.on("error", report);
  return redis;
}

/** Exponential from 50 ms to 2 s, of which a random half: nodes do not come back in step. */
function retryDelayMs(attempt: number): number {
  const most = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt - 1, 10));
  return Math.round(most * (0.5 + Math.random() / 2));
}

/**
 * Resolves when the client is ready for commands.
 * @throws Error REDIS_UNREACHABLE after the first failure; the client is closed then
 */
export async function connectRedis(redis: Redis, options: RedisOptions): Promise<void> {
  let cause: Error | undefined;
  const remember = (error: Error): void => {
    cause ??= error;
  };
  redis.on("error", remember);
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    const reason = explain(cause ?? error, options.url);
    const message = `cannot reach Redis at ${address(options.url)}: ${reason}; start one or omit --redis`;
    // Not the error itself: ioredis hangs the command on it, and an AUTH carries the password.
    throw Object.assign(new Error(message, { cause: new Error(reason) }), { code: "REDIS_UNREACHABLE" });
  } finally {
    redis.off("error", remember);
  }
}

/** Closes the connection for good; what is unanswered fails. Never waits for Redis. */
export async function closeRedis(redis: Redis): Promise<void> {
  const closing = redis.status === "connecting" || redis.status === "connect" || redis.status === "ready";
  // While it waits to reconnect no event would come: there is nothing to close.
  const ended = closing ? new Promise<void>((resolve) => redis.once("end", resolve)) : undefined;
  redis.disconnect();
  if (ended === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, DISCONNECT_TIMEOUT_MS * 5);
  });
  await Promise.race([ended, late]);
  clearTimeout(timer);
}

/** Whether a command given to this client now is written to a socket. */
export function isReady(redis: Redis): boolean {
  return redis.status === "ready";
}

/**
 * What a failed command means to whoever asked.
 * @param sent  whether the client was ready when the command was given to it
 * @returns unavailable: it did not happen. unknown: it was written and the answer is missing
 */
export function toStarlingError(error: unknown, sent: boolean): StarlingError {
  if (error instanceof StarlingError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (!sent || reason.startsWith("Stream isn't writeable")) {
    return new StarlingError("unavailable", "Redis is away: nothing was sent", { cause: error });
  }
  if (error instanceof ReplyError) {
    return new StarlingError("unavailable", `Redis refused it: ${reason}`, { cause: error });
  }
  // ioredis's name for "the connection closed" speaks of retries that we do not make.
  const why =
    error instanceof Error && error.name === "MaxRetriesPerRequestError" ? "connection lost" : reason;
  return new StarlingError("unknown", `Redis did not answer (${why}): it may have happened`, {
    cause: error,
  });
}

/** The URL without its password, for logs and `starling config`. */
export function redact(url: string): string {
  return url.replace(/^([a-z]*:?\/\/[^:@/?]*):.*@/i, "$1:***@").replace(/([?&]password=)[^&]*/gi, "$1***");
}

/** `host:port` or the socket's path: what an error names. */
export function address(url: string): string {
  if (url.startsWith("/")) return url.split("?", 1)[0]!;
  try {
    const { hostname, port } = new URL(url);
    return `${hostname}:${port === "" ? "6379" : port}`;
  } catch {
    return redact(url);
  }
}

function checkUrl(url: string): void {
  if (/^rediss?:\/\/./i.test(url) ? URL.canParse(url) : url.startsWith("/")) return;
  throw new Error(
    `${JSON.stringify(redact(url))} is no Redis URL: use redis://[user:password@]host[:port][/db]`,
  );
}

/** An error's text without the password: old servers repeat a refused HELLO with its arguments. */
function explain(error: unknown, url: string): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  const password = URL.canParse(url) ? new URL(url).password : "";
  if (password === "") return text;
  return text.replaceAll(password, "***").replaceAll(decodeURIComponent(password), "***");
}
