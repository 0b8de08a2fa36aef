import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { cleanUp, startFleet, startTestNode, until } from "../support/nodes.js";
import { refusal } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

it("/metrics tells what the node did, in numbers that match", async () => {
  const [node] = await startFleet(1, redis, { origins: ["https://app.example"] });
  const origin = "https://app.example";
  const json = [
    await node!.client({ origin }),
    await node!.client({ origin }),
    await node!.client({ origin }),
  ];
  const packed = await node!.client({ origin, subprotocol: "starling.v1.msgpack" });
  for (const client of [...json, packed]) await client.do("subscribe", { channel: "room" });
  await json[0]!.do("subscribe", { channel: "hall" });
  for (let i = 1; i <= 5; i++) {
    await packed.do("send", { channel: "room", content: i });
    for (const client of [...json, packed]) await client.contents("room", i);
  }
  await packed.do("send", { channel: "nobody", content: 1 });
  json[0]!.sendText("nonsense");
  await json[0]!.next("error");
  await json[0]!.ask("subscribe", { channel: "a b" });
  await refusal(node!.wsUrl, { origin: "https://evil.example" });
  json[2]!.close(1000);
  await json[2]!.closed();
  json[1]!.close(4321);
  await json[1]!.closed();
  await until("both gone", async () => (await node!.metric("starling_connections")) === 2);
  await until("registry", async () => (await node!.metric("starling_registry_size")) === 2);

  const metrics = await node!.metrics();
  const expected: Record<string, number> = {
    starling_ready: 1,
    starling_bridge_up: 1,
    starling_connections: 2,
    starling_connects_total: 4,
    // A code of the client's own choice makes no series of its own.
    'starling_disconnects_total{protocol="starling",reason="client"}': 2,
    'starling_disconnects_total{protocol="starling",reason="slow_reader"}': 0,
    starling_subscriptions: 3,
    starling_channels: 2,
    // Subscribes, nonsense and a bad channel; sends and a subscribe.
    'starling_messages_in_total{protocol="starling",codec="json"}': 6,
    'starling_messages_in_total{protocol="starling",codec="msgpack"}': 7,
    // Welcomes, replies, errors, and each publication once per receiver.
    'starling_messages_out_total{protocol="starling",codec="json"}': 3 + 4 + 2 + 15,
    'starling_messages_out_total{protocol="starling",codec="msgpack"}': 1 + 1 + 6 + 5,
    starling_publications_delivered_total: 5,
    starling_publications_unheard_total: 1,
    starling_publish_to_deliver_seconds_count: 5,
    starling_bridge_publish_seconds_count: 6,
    starling_publications_failed_total: 0,
    'starling_rejects_total{reason="origin"}': 1,
    'starling_rejects_total{reason="bad_frame"}': 1,
    'starling_rejects_total{reason="bad_channel"}': 1,
    'starling_rejects_total{reason="rate_limited"}': 0,
    starling_heartbeat_timeouts_total: 0,
    starling_slow_closes_total: 0,
    starling_session_faults_total: 0,
    starling_envelopes_skipped_total: 0,
  };
  const shown = Object.fromEntries(Object.keys(expected).map((series) => [series, metrics.get(series)]));
  expect(shown).toEqual(expected);
  expect(metrics.get("starling_bridge_round_trip_seconds_count")).toBeGreaterThan(0);
  expect(metrics.get("starling_bridge_batch_items_sum")).toBe(6);
  expect(metrics.has('starling_disconnects_total{protocol="starling",reason="4321"}')).toBe(false);
});

it("bytes are counted as they are on the wire, without WebSocket heads", async () => {
  const node = await startTestNode();
  const client = await node.client();
  const before = await node.metrics();
  const frame = '{"action":"ping","id":"éé"}';
  client.sendText(frame);
  const answer = await client.next("reply");
  const after = await node.metrics();
  const grown = (series: string): number => after.get(series)! - before.get(series)!;
  expect(grown('starling_bytes_in_total{protocol="starling",codec="json"}')).toBe(Buffer.byteLength(frame));
  expect(grown('starling_bytes_out_total{protocol="starling",codec="json"}')).toBe(
    Buffer.byteLength(JSON.stringify(answer)),
  );
});

it("two nodes of one process count each for itself", async () => {
  const [first, second] = [await startTestNode(), await startTestNode()];
  await first.client();
  expect(await first.metric("starling_connections")).toBe(1);
  expect(await second.metric("starling_connections")).toBe(0);
});

it("a frame that closes the connection is counted before it is answered", async () => {
  const node = await startTestNode();
  const client = await node.client();
  await client.ask("unknown");
  expect(await node.metric('starling_rejects_total{reason="unknown_action"}')).toBe(1);
});
