import { afterAll, beforeAll } from "vitest";

import { silentLog } from "../../src/core/log.js";
import { createMemoryPresence } from "../../src/memory/presence.js";
import { FORMAT } from "../../src/redis/link/fleet-format.js";
import { createRedisLink } from "../../src/redis/link/link.js";
import { createRedisPresence } from "../../src/redis/presence/presence.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { presenceContract } from "./presence.js";

presenceContract("memory", { create: (options) => createMemoryPresence({ ...options, log: silentLog }) });

let server: RedisServer;
let run = 0;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

for (const shards of [1, 4]) {
  presenceContract(`Redis, ${shards} ${shards === 1 ? "shard" : "shards"}`, {
    create: (options) =>
      createRedisPresence({
        format: { oldest: FORMAT },
        ...options,
        nodeId: "a",
        link: createRedisLink({
          nodeId: "a",
          redis: { url: server.url, prefix: `t${run++}:`, commandTimeoutMs: 2_000 },
          probeIntervalMs: 1_000,
          probeTimeoutMs: 1_000,
          stats: options.stats,
          log: silentLog,
        }),
        ttlMs: 300_000,
        shards,
        log: silentLog,
      }),
  });
}
