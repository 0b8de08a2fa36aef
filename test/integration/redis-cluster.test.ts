/** The contract suites on a real Cluster of three masters, and what is particular to one. */

import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";

import { silentLog } from "../../src/core/log.js";
import { createRedisControl } from "../../src/redis/control.js";
import { createRedisLink } from "../../src/redis/link.js";
import { createRedisPresence } from "../../src/redis/presence.js";
import { createRedisRegistry } from "../../src/redis/registry.js";
import { slotOf } from "../../src/redis/slots.js";
import { describeBrokerContract } from "../contract/broker.js";
import { describeControlContract } from "../contract/control.js";
import { describeHistoryContract } from "../contract/history.js";
import { presenceContract } from "../contract/presence.js";
import { registryContract } from "../contract/registry.js";
import { createRecorder, publish } from "../support/publications.js";
import { startCluster, type RedisCluster } from "../support/redis-cluster.js";
import { createRedisNode } from "../support/redis-node.js";

let cluster: RedisCluster;
let run = 0;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.stop());

/** They lie on different masters. */
const SHARDS = 4;

describeBrokerContract("Cluster", (bounds) => {
  const prefix = `broker${run++}:`;
  return createRedisNode({ nodeId: "n1", url: cluster.url, prefix, broker: { shards: SHARDS, ...bounds } })
    .broker;
});

describeHistoryContract("Cluster", {
  shared: true,
  create: (bus, options) =>
    createRedisNode({
      nodeId: `n${run++}`,
      url: cluster.url,
      prefix: `${bus}:`,
      broker: { shards: SHARDS, ...options },
    }).broker,
});

describeControlContract("Cluster", () => {
  const { link, stats, log } = createRedisNode({
    nodeId: "n1",
    url: cluster.url,
    prefix: `control${run++}:`,
  });
  return createRedisControl({ link, askTimeoutMs: 2_000, nodes: () => Promise.resolve(["n1"]), stats, log });
});

presenceContract("Cluster", {
  create: (options) =>
    createRedisPresence({
      ...options,
      nodeId: "a",
      link: createRedisLink({
        nodeId: "a",
        redis: { url: cluster.url, prefix: `presence${run++}:`, commandTimeoutMs: 2_000 },
        probeIntervalMs: 1_000,
        probeTimeoutMs: 1_000,
        stats: options.stats,
        log: silentLog,
      }),
      ttlMs: 300_000,
      shards: SHARDS,
      log: silentLog,
    }),
});

registryContract("Cluster", {
  create: (options) =>
    createRedisRegistry({
      ...options,
      redis: { url: cluster.url, prefix: `registry${run++}:`, commandTimeoutMs: 2_000 },
      leaseTtlMs: 3_000,
      log: silentLog,
      notifySuperseded: (node, connection) => {
        throw new Error(`${connection} is on this node, not on ${node}`);
      },
    }),
});

describe("names and slots", () => {
  it("are those of the Cluster", async () => {
    const client = cluster.masters[0]!.client();
    for (const name of ["", "a", "{a}b", "a{b}c", "{}a", "a{b", "a}{b}", "a{{b}}", "123456789", "ü{ü}"]) {
      expect(slotOf(name), name).toBe(await client.cluster("KEYSLOT", name));
    }
  });

  it("of the bus lie on different masters", async () => {
    const owners = new Set<number>();
    for (let shard = 0; shard < SHARDS; shard++) {
      owners.add((await cluster.ownerOf(slotOf(`ws:bus:{h${shard}}`))).port);
    }
    expect(owners.size).toBeGreaterThan(1);
  });
});

describe("traffic on a Cluster", () => {
  it("stays with the master whose slot it is: nothing is broadcast", async () => {
    const node = createRedisNode({ nodeId: "a", url: cluster.url, prefix: `traffic${run++}:` });
    const recorder = createRecorder();
    await node.broker.start(recorder);
    onTestFinished(() => node.broker.stop());
    const calls = async (command: string): Promise<number> => {
      let sum = 0;
      for (const master of cluster.masters) {
        const stats = await master.client().info("commandstats");
        sum += Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
      }
      return sum;
    };
    const before = [await calls("publish"), await calls("spublish")] as const;
    publish(node.broker, "x");
    await vi.waitFor(() => expect(recorder.texts).toEqual(["x"]));
    expect(await calls("publish")).toBe(before[0]);
    expect(await calls("spublish")).toBeGreaterThan(before[1]);
  });

  it("of applications may be published at any node with PUBLISH", async () => {
    const channel = `orders${run++}`;
    const node = createRedisNode({
      nodeId: "a",
      url: cluster.url,
      prefix: `ingest${run++}:`,
      broker: { ingest: { channel, app: "main", maxBytes: 1_000 } },
    });
    const recorder = createRecorder();
    await node.broker.start(recorder);
    onTestFinished(() => node.broker.stop());
    for (const [at, master] of cluster.masters.entries()) {
      await master.client().publish(channel, JSON.stringify({ channel: "room", content: at }));
    }
    await vi.waitFor(() => expect([...recorder.texts].sort()).toEqual(["0", "1", "2"]));
  });
});

describe("a start that cannot work", () => {
  const start = (url: string): Promise<void> =>
    createRedisNode({ nodeId: "a", url, prefix: `start${run++}:` }).broker.start(createRecorder());

  it("says that nobody is there, and ends", async () => {
    await expect(start("redis+cluster://127.0.0.1:1")).rejects.toThrow(
      /cannot reach Redis at Cluster 127\.0\.0\.1:1: .*ECONNREFUSED/,
    );
  });

  it("says that one node of a Cluster is not a whole Redis", async () => {
    const urls = cluster.masters.map(({ url }) => start(url));
    const outcomes = await Promise.allSettled(urls);
    const refused = outcomes.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused)
      expect(String(reason)).toMatch(/is part of a Cluster: use redis\+cluster:\/\//);
  });
});
