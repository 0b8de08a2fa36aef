/** A fleet whose Redis is what three Sentinels say, on real servers. */

import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";

import type { Config } from "../../src/config.js";
import { describeBrokerContract } from "../contract/broker.js";
import { describeHistoryContract, keep } from "../contract/history.js";
import { eventually } from "../support/eventually.js";
import { CHAT_RULES, cleanUp, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import { createRecorder, publish } from "../support/publications.js";
import type { Frame } from "../support/raw-client.js";
import { refusals, setUser, withUser } from "../support/redis-acl.js";
import { createRedisNode } from "../support/redis-node.js";
import { MASTER_NAME, startSentinels, type SentinelSetup } from "../support/redis-sentinel.js";

const DEADLINE_MS = 40_000;
const SENTINEL_PASSWORD = "of-the-sentinels";

let run = 0;
afterEach(cleanUp);

const fleet = (url: string): Partial<Config> => ({
  redis: url,
  redisPrefix: `ws:fleet${run++}:`,
  redisCommandTimeoutMs: 400,
  busProbeIntervalMs: 100,
  busProbeTimeoutMs: 1_000,
  leaseTtlMs: 3_000,
  positionCheckIntervalMs: 200,
  namespaces: { chat: CHAT_RULES },
});

const ready = async (nodes: readonly InProcessNode[]): Promise<void> => {
  for (const node of nodes) {
    await until("ready", async () => (await node.reasons()).length === 0, DEADLINE_MS);
  }
};
const notReady = (node: InProcessNode): Promise<boolean> =>
  until("not ready", async () => (await node.reasons()).length > 0, DEADLINE_MS);

describe("a master that Sentinels watch", () => {
  let setup: SentinelSetup;
  beforeAll(async () => {
    setup = await startSentinels();
  }, 60_000);
  afterAll(() => setup.stop());

  describeBrokerContract(
    "Sentinel",
    (bounds) =>
      createRedisNode({ nodeId: "n1", url: setup.url, prefix: `broker${run++}:`, broker: { ...bounds } })
        .broker,
  );

  describeHistoryContract("Sentinel", {
    shared: true,
    create: (bus, options) =>
      createRedisNode({ nodeId: `n${run++}`, url: setup.url, prefix: `${bus}:`, broker: { ...options } })
        .broker,
  });

  const start = (url: string): Promise<void> =>
    createRedisNode({ nodeId: "a", url, prefix: `start${run++}:` }).broker.start(createRecorder());

  it("under another name is refused, with the name and the Sentinels that were asked", async () => {
    await expect(start(setup.url.replace(MASTER_NAME, "other"))).rejects.toThrow(
      /cannot reach Redis at other of Sentinels 127\.\S+: .*; no Sentinel there knows a master of that name/,
    );
  });

  it("behind Sentinels that nobody is at is refused, with why", async () => {
    await expect(start(`redis+sentinel://127.0.0.1:1/${MASTER_NAME}`)).rejects.toThrow(
      /cannot reach Redis at mymaster of Sentinels 127\.0\.0\.1:1: .*ECONNREFUSED/,
    );
  });

  it("asked for at a plain Redis is refused: that is no Sentinel", async () => {
    const { port } = setup.servers[0];
    await expect(start(`redis+sentinel://127.0.0.1:${port}/${MASTER_NAME}`)).rejects.toThrow(
      /unknown command.*sentinel.*; it is not a Sentinel: /i,
    );
  });

  it("is found although the first of its Sentinels is away", async () => {
    await start(setup.url.replace("://", "://127.0.0.1:1,"));
  });

  /** The last of them: it kills servers. */
  it("replaced by a replica that lags, and later again: clients are told new epochs, nothing is lost silently", async () => {
    const options = fleet(setup.url);
    const nodes = [await startTestNode(options), await startTestNode(options)] as const;
    const [reader, writer] = [await nodes[0].client(), await nodes[1].client()];
    const channel = "chat:room";
    const send = (content: unknown): Promise<Frame> => writer.do("send", { channel, content });
    const gaps = (): Frame[] =>
      reader.frames.filter((frame) => frame.type === "gap" && frame["channel"] === channel);
    const { epoch: first } = await reader.do("subscribe", { channel });
    for (const n of [1, 2, 3]) await send(n);
    await reader.contents(channel, 3);
    const [master, replica] = setup.servers;
    const look = replica.client();
    const key = `${options.redisPrefix}history:{h0}:main/${channel}`;
    await until("replicated", async () => (await look.xlen(key)) === 3);
    await setup.lag();
    // Acknowledged by the master, and about to be lost.
    const lost = [await send(4), await send(5)];
    expect(lost.at(-1)).toMatchObject({ offset: 5, epoch: first });
    await reader.contents(channel, 5);
    expect(await look.xlen(key)).toBe(3);

    await master.kill();
    await notReady(nodes[0]);
    const refused = await writer.ask("send", { channel, content: "away" }, 2_000);
    expect(refused).toMatchObject({ type: "error", temporary: true });
    await setup.promoted(replica);
    await ready(nodes);

    // What the client saw: a gap that says so, and then offsets from 1 under another epoch.
    await until("told", () => gaps().length === 1, DEADLINE_MS);
    expect(gaps()[0]).toMatchObject({ recovered: false });
    const second = gaps()[0]!["epoch"];
    expect(second).not.toBe(first);
    expect(await send(6)).toMatchObject({ offset: 1, epoch: second });
    expect(await reader.contents(channel, 6)).toEqual([1, 2, 3, 4, 5, 6]);
    // Who stands at what the replica never had is not told to have everything.
    const returning = await nodes[1].client();
    for (const offset of [3, 5]) {
      const reply = await returning.do("subscribe", { channel, since: { offset, epoch: first } });
      expect(reply).toMatchObject({ recovered: false, missed: 0, epoch: second });
      await returning.do("unsubscribe", { channel });
    }
    // What the metrics said.
    for (const node of nodes) {
      expect(await node.metric("starling_bridge_up")).toBe(1);
      expect(await node.metric("starling_bridge_reconnects_total")).toBeGreaterThanOrEqual(1);
    }
    expect(await nodes[0].metric("starling_gaps_total")).toBe(1);
    expect(await nodes[1].metric("starling_recoveries_failed_total")).toBe(2);

    // The first server comes back empty, becomes a replica, and is made the master again.
    await master.restart();
    await setup.following(master);
    await setup.failover();
    await setup.promoted(master);
    await until("told again", () => gaps().length === 2, DEADLINE_MS);
    await ready(nodes);
    const third = gaps()[1]!["epoch"];
    expect(new Set([first, second, third]).size).toBe(3);
    expect(await send(7)).toMatchObject({ offset: 1, epoch: third });
    expect(await reader.contents(channel, 7)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    // Nobody's connection ended for it, and each is counted and present once.
    expect(reader.closedWith).toBeUndefined();
    await until("registered again", async () => (await nodes[0].totals()).connections === 3, DEADLINE_MS);
    expect(await reader.do("presence", { channel })).toMatchObject({ connections: 1 });
  }, 180_000);
});

describe("Sentinels with a password, and a Redis with an ACL user", () => {
  let setup: SentinelSetup;
  beforeAll(async () => {
    setup = await startSentinels({ password: SENTINEL_PASSWORD });
    for (const server of setup.servers) await setUser(server, "starling");
  }, 60_000);
  afterAll(() => setup.stop());

  const url = (): string => withUser(setup.url, "starling");
  const start = (redis: Partial<Config>): Promise<InProcessNode> =>
    startTestNode({ ...fleet(url()), ...redis });

  it("serve a node that has both, and follow a failover with them", async () => {
    const node = createRedisNode({
      nodeId: "a",
      url: url(),
      prefix: `ws:both${run++}:`,
      redis: { sentinelPassword: SENTINEL_PASSWORD },
    });
    const recorder = createRecorder();
    await node.broker.start(recorder);
    onTestFinished(() => node.broker.stop());
    const before = await keep(node.broker, "before");
    const links = recorder.links.length;
    await setup.failover();
    await setup.promoted(setup.servers[1]);
    await eventually(() => {
      expect(recorder.links.length).toBeGreaterThan(links + 1);
      expect(recorder.links.at(-1)).toBe(true);
    }, DEADLINE_MS);
    const after = await keep(node.broker, "after");
    expect(after).toMatchObject({ offset: 1 });
    expect(after).not.toMatchObject({ epoch: (before as { epoch: string }).epoch });
    publish(node.broker, "passing");
    await eventually(() => expect(recorder.texts).toEqual(["before", "after", "passing"]));
    for (const server of setup.servers) expect(await refusals(server)).toEqual([]);
  }, 60_000);

  it("refuse a node without the Sentinels' password, which is told where that goes", async () => {
    await expect(start({})).rejects.toThrow(/NOAUTH.*--redis-sentinel-password/s);
  });

  it("refuse a node with a wrong one, which is told so without repeating it", async () => {
    const failure = await start({ redisSentinelPassword: "gue$$ed" }).catch(String);
    expect(failure).toMatch(/WRONGPASS.*--redis-sentinel-password/s);
    expect(failure).not.toContain("gue$$ed");
    expect(failure).not.toContain("starling:pass");
  });

  it("refuse a node whose Redis password is wrong, which is told that it is that one", async () => {
    const failure = await start({
      redis: url().replace(":pass@", ":gue55ed@"),
      redisSentinelPassword: SENTINEL_PASSWORD,
    }).catch(String);
    expect(failure).toMatch(/cannot reach Redis at mymaster of Sentinels .*WRONGPASS.*docs\/redis\.md/s);
    expect(failure).not.toContain("gue55ed");
  });
});
