/** Makes a client's first connection, and finds out why it could not be made. */

import { ReplyError } from "ioredis";

import { abandonRedis, createTrialConnection, ERROR_EVENTS, isCluster, type RedisClient } from "./client.js";
import { namesCause, unreachable } from "./connect-failure.js";
import type { RedisOptions } from "./redis-options.js";
import { parseRedisUrl } from "./redis-url.js";
import { troubleOf } from "./server-state.js";

/** Command time-outs that the first connection to a Cluster may take. */
const CLUSTER_PATIENCE = 3;

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
    abandonRedis(redis);
    throw unreachable(
      (await troubleOfCluster(options)) ?? causes.findLast(namesCause) ?? causes[0] ?? error,
      options,
    );
  } finally {
    for (const event of ERROR_EVENTS) redis.off(event, remember);
  }
}

async function connected(redis: RedisClient, { commandTimeoutMs }: RedisOptions): Promise<void> {
  if (!isCluster(redis)) return redis.connect();
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

function isOfSelect(error: Error): boolean {
  return error instanceof ReplyError && (error as { command?: { name: string } }).command?.name === "select";
}

/**
 * Asks the nodes that a Cluster's URL names: ioredis keeps to itself why they cannot be used.
 * @returns what keeps the first that answers from serving, or why none answers
 */
export async function troubleOfCluster(options: RedisOptions): Promise<Error | undefined> {
  const target = parseRedisUrl(options.url);
  if (target.kind !== "cluster") return undefined;
  let failure: Error | undefined;
  for (const endpoint of target.endpoints) {
    const node = createTrialConnection(options, endpoint);
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
