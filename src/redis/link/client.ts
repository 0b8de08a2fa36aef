/** The clients that Starling makes: the one place that knows ioredis's options. */

import { Cluster, Redis, type Command, type RedisOptions as ConnectionOptions } from "ioredis";

import type { Log } from "../../core/log.js";
import { explain } from "./connect-failure.js";
import { sentinelConnector } from "./sentinel-connector.js";
import type { RedisOptions, RedisTls } from "./redis-options.js";
import { address, parseRedisUrl, type Endpoint, type RedisTarget } from "./redis-url.js";
import { throttle } from "./throttle.js";

export type RedisRole = "publish" | "state" | "subscribe";
/** One connection, or as many as a Cluster has masters. */
export type RedisClient = Redis | Cluster;

const RETRY_FIRST_MS = 50;
const RETRY_MOST_MS = 2_000;
/** A half-open link never answers a FIN: the socket is destroyed after this. */
const DISCONNECT_TIMEOUT_MS = 100;
/** Slots that moved without an error to tell of it, and nodes that came. */
const SLOTS_REFRESH_INTERVAL_MS = 5_000;
const ERROR_LOG_INTERVAL_MS = 5_000;
/** What a command is refused with that a Cluster's client would only queue. */
export const SLOTS_UNKNOWN = "the Cluster's slots are not known";

/**
 * A client that has not connected yet: connectRedis does. From then on it
 * reconnects forever, and nothing is ever queued for longer than a command may
 * take, or sent again behind the caller's back.
 */
export function createRedisClient(options: RedisOptions, role: RedisRole, log: Log): RedisClient {
  const target = parseRedisUrl(options.url);
  const client =
    target.kind === "cluster"
      ? createCluster(options, target, role)
      : createConnection(options, target, role);
  logErrors(client, options, role, log);
  return client;
}

/** A connection to one node of a Cluster. */
export function createNodeConnection(
  options: RedisOptions,
  node: Endpoint,
  role: RedisRole,
  log: Log,
): Redis {
  const target = parseRedisUrl(options.url);
  const redis = new Redis({ ...node, ...userOf(target), ...connectionOptions(options, target, role) });
  logErrors(redis, options, role, log);
  return redis;
}

/** A connection to one node that is not made again when it closes, and that a server which still loads may have. */
export function createTrialConnection(options: RedisOptions, node: Endpoint): Redis {
  const target = parseRedisUrl(options.url);
  const trial = { ...connectionOptions(options, target, "state"), enableReadyCheck: false };
  return new Redis({ ...trial, ...node, ...userOf(target), retryStrategy: () => null });
}

function createConnection(
  options: RedisOptions,
  target: Exclude<RedisTarget, { kind: "cluster" }>,
  role: RedisRole,
): Redis {
  const common = connectionOptions(options, target, role);
  if (target.kind === "single")
    return new Redis({ ...common, ...userOf(target), ...target.server, db: target.db });
  let wasReady = false;
  const redis: Redis = new Redis({
    ...common,
    Connector: sentinelConnector((error) => redis.emit("sentinelError", error)),
    ...userOf(target),
    db: target.db,
    sentinels: [...target.endpoints],
    name: target.masterName,
    role: "master",
    ...(options.sentinelPassword === undefined ? {} : { sentinelPassword: options.sentinelPassword }),
    ...(common.tls === undefined ? {} : { sentinelTLS: common.tls, enableTLSForSentinelMode: true }),
    sentinelCommandTimeout: options.commandTimeoutMs,
    // Leaves a master that was replaced although it still answers, or never will again.
    failoverDetector: true,
    // The start reports what is wrong instead of trying forever.
    sentinelReconnectStrategy: retryDelayMs,
    sentinelRetryStrategy: (attempt) => (wasReady ? retryDelayMs(attempt) : null),
  });
  redis.once("ready", () => (wasReady = true));
  // A failover announced while it asks a Sentinel ends ioredis's client for good.
  redis.on("end", () => {
    if (!wasReady || closed.has(redis)) return;
    setTimeout(() => {
      // "error" has told why.
      if (!closed.has(redis) && redis.status === "end") redis.connect().catch(() => undefined);
    }, retryDelayMs(1));
  });
  return redis;
}

/** Clients that are not to connect again. */
const closed = new WeakSet<RedisClient>();

class FailFastCluster extends Cluster {
  /** ioredis would queue it without a limit of time, and send it after whoever asked was told. */
  override sendCommand(command: Command, ...how: [stream?: never, node?: never]): unknown {
    // Its own question whether the Cluster is well comes before it is ready.
    if (this.status === "ready" || command.name === "cluster") return super.sendCommand(command, ...how);
    command.reject(new Error(SLOTS_UNKNOWN));
    return command.promise;
  }
}

function createCluster(
  options: RedisOptions,
  target: RedisTarget & { kind: "cluster" },
  role: RedisRole,
): Cluster {
  const {
    retryStrategy: _,
    enableOfflineQueue: __,
    ...redisOptions
  } = connectionOptions(options, target, role);
  return new FailFastCluster([...target.endpoints], {
    lazyConnect: true,
    // Until a node's connection is made, which takes at most connectTimeout.
    enableOfflineQueue: true,
    clusterRetryStrategy: retryDelayMs,
    // Only what a node refused to run is sent to another by itself: MOVED, ASK, TRYAGAIN.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshInterval: SLOTS_REFRESH_INTERVAL_MS,
    slotsRefreshTimeout: options.connectTimeoutMs ?? options.commandTimeoutMs,
    // The socket looks a name up itself, and TLS needs the name.
    dnsLookup: (host, callback) => callback(null, host),
    redisOptions: { ...redisOptions, ...userOf(target) },
  });
}

function connectionOptions(options: RedisOptions, target: RedisTarget, role: RedisRole) {
  return {
    lazyConnect: true,
    connectionName: `starling:${role}`,
    // One right less to ask for: the name says who we are.
    disableClientInfo: true,
    enableOfflineQueue: false,
    enableReadyCheck: options.enableReadyCheck ?? true,
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
    ...(target.tls ? { tls: tlsOptions(options.tls ?? {}) } : {}),
  } satisfies ConnectionOptions;
}

function tlsOptions({ ca, cert, key, serverName }: RedisTls): NonNullable<ConnectionOptions["tls"]> {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

function userOf(target: RedisTarget): { username?: string; password?: string } {
  const { username, password } = target;
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

/** Exponential from 50 ms to 2 s, of which a random half: nodes do not come back in step. */
function retryDelayMs(attempt: number): number {
  const most = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt - 1, 10));
  return Math.round(most * (0.5 + Math.random() / 2));
}

/** "error" is of the client, the others of what it connects to: a Cluster's nodes, Sentinels. */
export const ERROR_EVENTS = ["error", "node error", "sentinelError"];

function logErrors(client: RedisClient, options: RedisOptions, role: RedisRole, log: Log): void {
  const report = throttle(ERROR_LOG_INTERVAL_MS, (suppressed, error: Error) => {
    log.warn(
      { redis: address(options.url), role, suppressed, error: explain(error, options) },
      "a connection to Redis failed: connecting again",
    );
  });
  // Without a listener ioredis prints errors itself, arguments included.
  for (const event of ERROR_EVENTS) client.on(event, report);
}

/** Ends the client for good without waiting until it is closed. */
export function abandonRedis(redis: RedisClient): void {
  closed.add(redis);
  redis.disconnect();
}

/** Closes the connection for good; what is unanswered fails. Never waits for Redis. */
export async function closeRedis(redis: RedisClient): Promise<void> {
  const closing = redis.status === "connecting" || redis.status === "connect" || redis.status === "ready";
  // While it waits to reconnect no event would come: there is nothing to close.
  const ended = closing ? new Promise<void>((resolve) => redis.once("end", resolve)) : undefined;
  abandonRedis(redis);
  if (ended === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, DISCONNECT_TIMEOUT_MS * 5);
  });
  await Promise.race([ended, late]);
  clearTimeout(timer);
}

/** Whether a command given to this client now is written to a socket. */
export function isReady(redis: RedisClient): boolean {
  return redis.status === "ready";
}

export function isCluster(redis: RedisClient): redis is Cluster {
  return redis instanceof Cluster;
}

/** The connections to all masters: for what each of them must be told. */
export function mastersOf(redis: RedisClient): Redis[] {
  return redis instanceof Cluster ? redis.nodes("master") : [redis];
}
