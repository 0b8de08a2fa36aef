import type { Log } from "../../core/log.js";
import { mastersOf, type RedisClient } from "../link/client.js";

/**
 * Tells of servers that may drop keys which nodes rely on: message ids, sessions, leases, channels' epochs.
 * @returns a step of RedisLink.prepare, which tells each server's policy once
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
