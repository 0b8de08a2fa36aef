/** Settings that must be one for all nodes: the first node records them, the others must agree. */

import { toStarlingError, isReady, type RedisClient } from "../link/client.js";
import type { Keys } from "../link/keys.js";

const BUS_SHARDS = "busShards";

/**
 * Nodes that spread channels over different numbers of shards would all hear
 * everything, but each channel's order would no longer be one.
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
