/** A master of a Cluster that is stopped, is replaced, and wakes with calls in its sockets. */

import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";

import type { Position } from "../../src/core/publication.js";
import { shardOf } from "../../src/redis/link/keys.js";
import { slotOf } from "../../src/redis/link/slots.js";
import { keep } from "../contract/history.js";
import { until } from "../support/nodes.js";
import { createRecorder } from "../support/publications.js";
import { startCluster, type Member, type RedisCluster } from "../support/redis-cluster.js";
import { createRedisNode, type RedisNode, type RedisNodeOptions } from "../support/redis-node.js";

const PATIENCE_MS = 12_000;
const SHARDS = 8;

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 });
});
afterAll(() => cluster.stop());

async function startNode(nodeId: string, patience: Partial<RedisNodeOptions>): Promise<RedisNode> {
  const node = createRedisNode({ nodeId, url: cluster.url, broker: { shards: SHARDS }, ...patience });
  await node.broker.start(createRecorder());
  onTestFinished(() => node.broker.stop());
  return node;
}

it("acknowledges nothing of what was sent to it after its replica acknowledged the next epoch", async () => {
  const [master] = cluster.masters;
  const [replica] = cluster.replicas;
  // The replica is the first master's.
  const key = await channelAt(master!);
  // Notices nothing by itself for as long as the test lasts.
  const a = await startNode("a", {
    commandTimeoutMs: PATIENCE_MS,
    link: { probeIntervalMs: 60_000, probeTimeoutMs: 60_000 },
  });
  const b = await startNode("b", { commandTimeoutMs: 400 });
  const { epoch } = (await keep(a.broker, "before", { key })) as Position;
  const answers: { answer: Position | string; atMs: number }[] = [];
  master!.pause();
  const stoppedAtMs = performance.now();
  let publishing = true;
  const publisher = setInterval(() => {
    if (!publishing) return;
    void keep(a.broker, "x", { key }).then((answer) => answers.push({ answer, atMs: performance.now() }));
  }, 20);
  onTestFinished(() => clearInterval(publisher));
  const look = replica!.client();
  await until("replaced", async () => (await look.info("replication")).includes("role:master"));
  const next = await until("served by the replica", async () => {
    const answer = await keep(b.broker, "after", { key });
    return typeof answer === "object" ? answer : undefined;
  });
  expect(next.epoch).not.toBe(epoch);
  const acknowledgedAtMs = performance.now();
  // The first of what waits is late by now, none has been given up.
  await until("late", () => performance.now() - stoppedAtMs > PATIENCE_MS * 0.6);
  master!.resume();
  await until("over to the replica", () => answers.some(({ answer }) => isAt(answer, next.epoch)), 20_000);
  publishing = false;
  const stale = answers.filter(({ answer, atMs }) => atMs > acknowledgedAtMs && isAt(answer, epoch));
  expect(stale).toEqual([]);
  expect(answers.some(({ answer }) => answer === "unavailable")).toBe(true);
}, 60_000);

/** A channel in a shard whose slot this server has. */
async function channelAt(member: Member): Promise<string> {
  for (let n = 0; ; n++) {
    const key = `main/room-${n}`;
    if ((await cluster.ownerOf(slotOf(`{h${shardOf(key, SHARDS)}}`))) === member) return key;
  }
}

function isAt(answer: Position | string, epoch: string): boolean {
  return typeof answer === "object" && answer.epoch === epoch;
}
