import { afterAll, beforeAll } from "vitest";

import { silentLog } from "../../src/core/log.js";
import { Stats } from "../../src/core/stats.js";
import { createMemoryBroker } from "../../src/memory/broker.js";
import { createRedisNode } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { describeHistoryContract } from "./history.js";

let redis: RedisServer;
let nodes = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

describeHistoryContract("memory", {
  shared: false,
  create: (_, options) =>
    createMemoryBroker({
      maxQueuedItems: 50_000,
      maxQueuedBytes: 64 * 1024 * 1024,
      messageIdWindowMs: 120_000,
      emptyMs: 150_000,
      stats: new Stats(),
      log: silentLog,
      ...options,
    }),
});

for (const shards of [1, 4]) {
  describeHistoryContract(`redis, ${shards} shard(s)`, {
    shared: true,
    create: (bus, options) =>
      createRedisNode({
        nodeId: `n${++nodes}`,
        url: redis.url,
        prefix: `${bus}:`,
        broker: { shards, ...options },
      }).broker,
  });
}
