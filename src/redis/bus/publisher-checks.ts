/** What the broker checks on every new publish connection. */

import type { Log } from "../../core/log.js";
import { isReady, mastersOf, type RedisClient } from "../link/client.js";
import { toStarlingError } from "../link/command-failure.js";
import type { Keys } from "../link/keys.js";

const BUS_SHARDS = "busShards";

/**
 * The first node records the number of bus shards, and the others must have the same. Nodes that spread
 * channels over different numbers of shards would all hear everything, but each channel's order would no
 * longer be one.
 * @throws Error FLEET_MISMATCH naming both numbers
 */
export async function agreeOnShards(redis: RedisClient, keys: Keys, shards: number): Promise<void> {
  let recorded: string | null;
  const sent = isReady(redis);
  try {
    await redis.hsetnx(keys.fleet, BUS_SHARDS, shards);
    recorded = await redis.hget(keys.fleet, BUS_SHARDS);
  } catch (error) {
    throw toStarlingError(error, sent);
  }
  if (recorded === String(shards)) return;
  throw Object.assign(
    new Error(
      `this node has ${shards} bus shards, the fleet has ${recorded ?? "none"} (recorded in Redis at ${keys.fleet}): ` +
        `start it with --bus-shards ${recorded ?? shards}, or stop all nodes, run ` +
        `"HDEL ${keys.fleet} ${BUS_SHARDS}" and start them with the same number`,
    ),
    { code: "FLEET_MISMATCH" },
  );
}

/**
 * Warns of servers that may evict keys which nodes rely on: message ids, sessions, leases, channels' epochs.
 * @returns a step of RedisLink.prepare, which warns of each server's policy once
 */
export function warnOfEviction(log: Log): (publisher: RedisClient) => Promise<void> {
  const told = new Map<string, string>();
  return async (publisher) => {
    for (const master of mastersOf(publisher)) {
      const [, policy] = /^maxmemory_policy:(\S+)/m.exec(await master.info("memory")) ?? [];
      const redis = `${master.options.host}:${master.options.port}`;
      if (policy === undefined || told.get(redis) === policy) continue;
      told.set(redis, policy);
      if (policy === "noeviction") continue;
      log.warn(
        { redis, policy },
        "Redis may evict keys: messages may be made twice, sessions and history lost; set maxmemory-policy to noeviction",
      );
    }
  };
}
