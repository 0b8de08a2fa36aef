/** How Starling connects to Redis: the one place that knows ioredis's options and its errors. */

import { Cluster, Redis, ReplyError, type Command, type RedisOptions as ConnectionOptions } from "ioredis";

import type { Log } from "../core/log.js";
import { StarlingError } from "../core/errors.js";
import { advice, explain, isTemporary, tells, type RedisUnreachable } from "./connect-failure.js";
import { limited } from "./limited.js";
import { troubleOf } from "./server-state.js";
import { sentinelConnector } from "./sentinel-connector.js";
import { address, parseTarget, type Endpoint, type RedisTarget } from "./target.js";

export interface RedisOptions {
  /**
   * `redis://[user:password@]host[:port][/db]`; `unix://[user:password@]/path[?db=number]`;
   * `redis+sentinel://[user:password@]host[:port],.../master-name[/db]`;
   * `redis+cluster://[user:password@]host[:port],...`. `rediss` for TLS.
   */
  readonly url: string;
  /**
   * Begins every key and channel: "ws:" by default. Redis's channels ignore the
   * database number, so two fleets on one Redis need two prefixes.
   */
  readonly prefix: string;
  /** After this long without an answer a command counts as lost. */
  readonly commandTimeoutMs: number;
  /** false: a connection counts as ready while Redis still loads its data. */
  readonly enableReadyCheck?: boolean | undefined;
  /** For the TCP connection alone; commandTimeoutMs if absent. */
  readonly connectTimeoutMs?: number | undefined;
  readonly tls?: RedisTls | undefined;
  /** Of the Sentinels; the URL's is that of the Redis they watch. */
  readonly sentinelPassword?: string | undefined;
}

/** PEM. */
export interface RedisTls {
  /** Who signed the server's certificate, if no public authority did. */
  readonly ca?: string | undefined;
  /** This node's own certificate and its key, where Redis asks for one. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name in the server's certificate, if it is not the host's. */
  readonly serverName?: string | undefined;
}

export type RedisRole = "publish" | "state" | "subscribe";
/** One connection, or as many as a Cluster has masters. */
export type RedisClient = Redis | Cluster;

const RETRY_FIRST_MS = 50;
const RETRY_MOST_MS = 2_000;
/** A half-open link never answers a FIN: the socket is destroyed after this. */
const DISCONNECT_TIMEOUT_MS = 100;
/** Slots that moved without an error to tell of it, and nodes that came. */
const SLOTS_REFRESH_INTERVAL_MS = 5_000;
/** Command time-outs that the first connection to a Cluster may take. */
const CLUSTER_PATIENCE = 3;
const ERROR_LOG_INTERVAL_MS = 5_000;
const NOT_READY = "the Cluster's slots are not known";

/**
 * A client that has not connected yet: connectRedis does. From then on it
 * reconnects forever, and nothing is ever queued for longer than a command may
 * take, or sent again behind the caller's back.
 */
export function createRedisClient(options: RedisOptions, role: RedisRole, log: Log): RedisClient {
  const target = parseTarget(options.url);
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
  const target = parseTarget(options.url);
  const redis = new Redis({ ...node, ...userOf(target), ...connectionOptions(options, target, role) });
  logErrors(redis, options, role, log);
  return redis;
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

/** Those that closeRedis ended. */
const closed = new WeakSet<RedisClient>();

class FailFastCluster extends Cluster {
  /** ioredis would queue it without a limit of time, and send it after whoever asked was told. */
  override sendCommand(command: Command, ...how: [stream?: never, node?: never]): unknown {
    // Its own question whether the Cluster is well comes before it is ready.
    if (this.status === "ready" || command.name === "cluster") return super.sendCommand(command, ...how);
    command.reject(new Error(NOT_READY));
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
const ERROR_EVENTS = ["error", "node error", "sentinelError"];

function logErrors(client: RedisClient, options: RedisOptions, role: RedisRole, log: Log): void {
  const report = limited(ERROR_LOG_INTERVAL_MS, (suppressed, error: Error) => {
    log.warn(
      { redis: address(options.url), role, suppressed, error: explain(error, options) },
      "a connection to Redis failed: connecting again",
    );
  });
  // Without a listener ioredis prints errors itself, arguments included.
  for (const event of ERROR_EVENTS) client.on(event, report);
}

/**
 * Resolves when the client is ready for commands.
 * @throws RedisUnreachable after the first failure; the client is closed then
 */
export async function connectRedis(redis: RedisClient, options: RedisOptions): Promise<void> {
  const causes: Error[] = [];
  const remember = (error: Error): void => {
    causes.push(error);
  };
  for (const event of ERROR_EVENTS) redis.on(event, remember);
  try {
    await connected(redis, options);
    const refused = causes.find(isOfSelect);
    // A database that could not be selected: ioredis would go on in another.
    if (refused !== undefined) throw refused;
  } catch (error) {
    closed.add(redis);
    redis.disconnect();
    throw unreachable(
      (await troubleOfCluster(options)) ?? causes.findLast(tells) ?? causes[0] ?? error,
      options,
    );
  } finally {
    for (const event of ERROR_EVENTS) redis.off(event, remember);
  }
}

async function connected(redis: RedisClient, { commandTimeoutMs }: RedisOptions): Promise<void> {
  if (!(redis instanceof Cluster)) return redis.connect();
  // ioredis never settles it where the Cluster answers and says that it is down.
  const patienceMs = commandTimeoutMs * CLUSTER_PATIENCE;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the Cluster was not ready in ${patienceMs} ms`)), patienceMs);
  });
  try {
    await Promise.race([redis.connect(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Names the server, the reason and what to do about it; `temporary` says whether waiting may help. */
export function unreachable(cause: unknown, options: RedisOptions): RedisUnreachable {
  const reason = explain(cause, options);
  const hint = advice(reason, options);
  const message = `cannot reach Redis at ${address(options.url)}: ${reason}; ${hint}`;
  // Not the error itself: ioredis hangs the command on it, and an AUTH carries the password.
  return Object.assign(new Error(message, { cause: new Error(reason) }), {
    ...{ code: "REDIS_UNREACHABLE" as const, reason, hint, temporary: isTemporary(cause, reason) },
  });
}

function isOfSelect(error: Error): boolean {
  return error instanceof ReplyError && (error as { command?: { name: string } }).command?.name === "select";
}

/**
 * Asks the nodes that a Cluster's URL names: ioredis keeps to itself why they cannot be used.
 * @returns what keeps the first that answers from serving, or why none answers
 */
export async function troubleOfCluster(options: RedisOptions): Promise<Error | undefined> {
  const target = parseTarget(options.url);
  if (target.kind !== "cluster") return undefined;
  const base = { ...connectionOptions(options, target, "state"), enableReadyCheck: false };
  let failure: Error | undefined;
  for (const endpoint of target.endpoints) {
    const node = new Redis({ ...base, ...endpoint, ...userOf(target), retryStrategy: () => null });
    let cause: Error | undefined;
    node.on("error", (error: Error) => (cause ??= error));
    try {
      await node.connect();
      return await troubleOf(node, true);
    } catch (error) {
      if (node.status === "ready") return error as Error;
      failure = cause ?? (error as Error);
    } finally {
      node.disconnect();
    }
  }
  return failure;
}

/** Closes the connection for good; what is unanswered fails. Never waits for Redis. */
export async function closeRedis(redis: RedisClient): Promise<void> {
  closed.add(redis);
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
export function isReady(redis: RedisClient): boolean {
  return redis.status === "ready";
}

/** The connections to all masters: for what each of them must be told. */
export function mastersOf(redis: RedisClient): Redis[] {
  return redis instanceof Cluster ? redis.nodes("master") : [redis];
}

/**
 * What a failed command means to whoever asked.
 * @param sent  whether the client was ready when the command was given to it
 * @returns unavailable: Redis did not run it. outcome_unknown: it was written and the answer is missing
 */
export function toStarlingError(error: unknown, sent: boolean): StarlingError {
  if (error instanceof StarlingError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (!sent || reason === NOT_READY || reason.startsWith("Stream isn't writeable")) {
    return new StarlingError("unavailable", "Redis is unreachable: nothing was sent", { cause: error });
  }
  // A Cluster that sends a command from node to node has not run it.
  if (error instanceof ReplyError || reason.startsWith("Too many Cluster redirections")) {
    return new StarlingError("unavailable", `Redis refused the command: ${reason}`, { cause: error });
  }
  // ioredis's name for "the connection closed" speaks of retries that we do not make.
  const why =
    error instanceof Error && error.name === "MaxRetriesPerRequestError" ? "connection lost" : reason;
  return new StarlingError(
    "outcome_unknown",
    `Redis did not answer what was sent (${why}): the outcome is unknown`,
    {
      cause: error,
    },
  );
}
