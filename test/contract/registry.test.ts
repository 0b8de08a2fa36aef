import { afterAll, beforeAll } from "vitest";

import { silentLog } from "../../src/core/log.js";
import { createMemoryRegistry } from "../../src/memory/registry.js";
import { createRedisRegistry } from "../../src/redis/registry/registry.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { registryContract } from "./registry.js";

registryContract("memory", { create: (options) => createMemoryRegistry(options) });

let server: RedisServer;
let run = 0;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

registryContract("Redis", {
  create: (options) =>
    createRedisRegistry({
      ...options,
      redis: { url: server.url, prefix: `t${run++}:`, commandTimeoutMs: 2_000 },
      leaseTtlMs: 3_000,
      log: silentLog,
      notifySuperseded: (node, connection) => {
        throw new Error(`${connection} is on this node, not on ${node}`);
      },
    }),
});
