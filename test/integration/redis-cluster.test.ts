/** The contract suites on a real Cluster of three masters, and what is particular to one. */

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";

import { silentLog } from "../../src/core/log.js";
import { FORMAT } from "../../src/redis/link/fleet-format.js";
import { createRedisControl } from "../../src/redis/control/control.js";
import { createRedisLink } from "../../src/redis/link/link.js";
import { createRedisPresence } from "../../src/redis/presence/presence.js";
import { createRedisRegistry } from "../../src/redis/registry/registry.js";
import { slotOf } from "../../src/redis/link/slots.js";
import { describeBrokerContract } from "../contract/broker.js";
import { describeControlContract } from "../contract/control.js";
import { describeHistoryContract, keep } from "../contract/history.js";
import { presenceContract } from "../contract/presence.js";
import { registryContract } from "../contract/registry.js";
import { eventually } from "../support/eventually.js";
import { startTestNode } from "../support/nodes.js";
import { createRecorder, publish } from "../support/publications.js";
import { RULE, refusals, setUser, withUser } from "../support/redis-acl.js";
import { startCluster, type RedisCluster } from "../support/redis-cluster.js";
import { createRedisNode } from "../support/redis-node.js";

let cluster: RedisCluster;
/** With the user of docs/redis.md: on a Cluster, too, its rights are enough. */
let url = "";
let run = 0;
beforeAll(async () => {
  cluster = await startCluster();
  for (const master of cluster.masters) await setUser(master, "starling");
  url = withUser(cluster.url, "starling");
});
afterAll(() => cluster.stop());

/** They lie on different masters. */
const SHARDS = 4;

describeBrokerContract("Cluster", (bounds) => {
  const prefix = `ws:broker${run++}:`;
  return createRedisNode({ nodeId: "n1", url, prefix, broker: { shards: SHARDS, ...bounds } }).broker;
});

describeHistoryContract("Cluster", {
  shared: true,
  create: (bus, options) =>
    createRedisNode({
      nodeId: `n${run++}`,
      url,
      prefix: `ws:${bus}:`,
      broker: { shards: SHARDS, ...options },
    }).broker,
});

describeControlContract("Cluster", () => {
  const { link, stats, log } = createRedisNode({
    nodeId: "n1",
    url,
    prefix: `ws:control${run++}:`,
  });
  return createRedisControl({ link, askTimeoutMs: 2_000, nodes: () => Promise.resolve(["n1"]), stats, log });
});

presenceContract("Cluster", {
  create: (options) =>
    createRedisPresence({
      format: { oldest: FORMAT },
      ...options,
      nodeId: "a",
      link: createRedisLink({
        nodeId: "a",
        redis: { url, prefix: `ws:presence${run++}:`, commandTimeoutMs: 2_000 },
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
      redis: { url, prefix: `ws:registry${run++}:`, commandTimeoutMs: 2_000 },
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

describe("the user of docs/redis.md", () => {
  it("needs no other right on a Cluster than those that it has", async () => {
    for (const master of cluster.masters) expect(await refusals(master)).toEqual([]);
  });

  it("may follow a slot that is on its way to another master", async () => {
    const node = createRedisNode({ nodeId: "a", url, prefix: `ws:asking${run++}:` });
    await node.broker.start(createRecorder());
    onTestFinished(() => node.broker.stop());
    const slot = slotOf("{h0}");
    const owner = await cluster.ownerOf(slot);
    const target = cluster.masters.find((master) => master !== owner)!;
    const [from, to] = [owner.client(), target.client()];
    await to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", await from.cluster("MYID"));
    await from.call("CLUSTER", "SETSLOT", slot, "MIGRATING", await to.cluster("MYID"));
    onTestFinished(async () => {
      for (const key of (await to.call("CLUSTER", "GETKEYSINSLOT", slot, 1_000)) as string[]) {
        await to.pipeline([["asking"], ["del", key]]).exec();
      }
      for (const client of [from, to]) await client.call("CLUSTER", "SETSLOT", slot, "STABLE");
    });
    await keep(node.broker, "x", { key: "main/new" });
    expect(await to.info("commandstats")).toContain("cmdstat_asking:");
    for (const master of cluster.masters) expect(await refusals(master)).toEqual([]);
  });

  it.each(["spublish", "ssubscribe"])("without %s is refused at the start", async (command) => {
    for (const master of cluster.masters) await setUser(master, "poor", [...RULE, `-${command}`]);
    const poor = withUser(cluster.url, "poor");
    await expect(startTestNode({ redis: poor, redisPrefix: "ws:poor:" })).rejects.toThrow(
      new RegExp(`NOPERM: it may not use ${command.toUpperCase()}; docs/redis.md`),
    );
  });

  it("missing on one master is told at the start", async () => {
    for (const master of cluster.masters) await setUser(master, "some");
    await setUser(cluster.masters[1]!, "some", [...RULE, "-xadd"]);
    const some = withUser(cluster.url, "some");
    await expect(startTestNode({ redis: some, redisPrefix: "ws:some:" })).rejects.toThrow(
      /NOPERM: it may not use XADD \(for channels with history\); docs\/redis\.md/,
    );
  });

  it("needs neither PUBLISH nor SUBSCRIBE, but for the ingest channel", async () => {
    const rule = [...RULE, "-publish", "-subscribe", "&orders"];
    for (const master of cluster.masters) await setUser(master, "sharded", rule);
    const options = { redis: withUser(cluster.url, "sharded"), redisPrefix: "ws:sharded:" };
    expect((await (await startTestNode(options)).totals()).nodes).toBe(1);
    await expect(startTestNode({ ...options, ingestChannel: "orders" })).rejects.toThrow(
      /NOPERM: it may not use SUBSCRIBE orders \(for ingestChannel\); docs\/redis\.md/,
    );
  });
});

describe("traffic on a Cluster", () => {
  it("stays with the master whose slot it is: nothing is broadcast", async () => {
    const node = createRedisNode({ nodeId: "a", url, prefix: `ws:traffic${run++}:` });
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
    await eventually(() => expect(recorder.texts).toEqual(["x"]));
    expect(await calls("publish")).toBe(before[0]);
    expect(await calls("spublish")).toBeGreaterThan(before[1]);
  });

  it("of applications may be published at any node with PUBLISH", async () => {
    // Within the user's pattern, and not the fleet's own prefix.
    const channel = `ws:orders${run++}`;
    const node = createRedisNode({
      nodeId: "a",
      url,
      prefix: `ws:ingest${run++}:`,
      broker: { ingest: { channel, app: "main", maxBytes: 1_000 } },
    });
    const recorder = createRecorder();
    await node.broker.start(recorder);
    onTestFinished(() => node.broker.stop());
    for (const [at, master] of cluster.masters.entries()) {
      await master.client().publish(channel, JSON.stringify({ channel: "room", content: at }));
    }
    await eventually(() => expect([...recorder.texts].sort()).toEqual(["0", "1", "2"]));
  });
});

describe("a start that cannot work", () => {
  const start = (url: string): Promise<void> =>
    createRedisNode({ nodeId: "a", url, prefix: `ws:start${run++}:` }).broker.start(createRecorder());

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
