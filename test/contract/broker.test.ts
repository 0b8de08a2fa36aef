import { afterAll, beforeAll } from "vitest";

import { silentLog } from "../../src/core/log.js";
import { Stats } from "../../src/core/stats.js";
import { createMemoryBroker } from "../../src/memory/broker.js";
import { createRedisNode } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { describeBrokerContract } from "./broker.js";

let redis: RedisServer;
let tests = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

describeBrokerContract("memory", (bounds) =>
  createMemoryBroker({
    maxQueuedItems: 50_000,
    maxQueuedBytes: 64 * 1024 * 1024,
    messageIdWindowMs: 120_000,
    emptyMs: 150_000,
    stats: new Stats(),
    log: silentLog,
    ...bounds,
  }),
);

for (const shards of [1, 4]) {
  describeBrokerContract(`redis, ${shards} shard(s)`, (bounds) => {
    const prefix = `test${++tests}:`;
    return createRedisNode({ nodeId: "n1", url: redis.url, prefix, broker: { shards, ...bounds } }).broker;
  });
}
