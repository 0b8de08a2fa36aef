import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, spawnNode, startTestNode, until } from "../support/nodes.js";
import { RawPusher, pusherOptions } from "../support/raw-pusher.js";

afterEach(cleanUp);

const LIMITS = {
  maxBufferedBytes: 1024 * 1024,
  bytesPerSecond: 1024 * 1024 * 1024,
  bytesBurst: 1024 * 1024 * 1024,
};
/** In all far more than the kernel's buffers and ours hold for a socket. */
const COUNT = 800;
const CONTENT = "x".repeat(60_000);

describe("a client that stops reading", () => {
  it("is closed and counted, and its neighbours receive everything", async () => {
    const node = await startTestNode({ ...LIMITS, messagesBurst: 10_000 });
    const slow = await Promise.all(Array.from({ length: 5 }, () => node.client()));
    const [neighbour, sender] = [
      await node.client(),
      await node.client({ subprotocol: "starling.v1.msgpack" }),
    ];
    for (const client of [...slow, neighbour]) await client.do("subscribe", { channel: "a" });
    for (const client of slow) client.pause();
    // Not all at once: the neighbour must be able to keep up.
    for (let sent = 0; sent < COUNT; sent += 10) {
      for (let i = sent; i < sent + 10; i++)
        sender.send({ action: "send", channel: "a", content: `${i} ${CONTENT}` });
      await neighbour.contents("a", sent + 10);
    }
    const numbers = neighbour
      .messages("a")
      .map(({ content }) => Number((content as string).split(" ", 1)[0]));
    expect(numbers).toEqual(Array.from({ length: COUNT }, (_, i) => i));
    expect(neighbour.closedWith).toBeUndefined();

    const metrics = await node.metrics();
    expect(metrics.get("starling_slow_closes_total")).toBe(5);
    expect(metrics.get('starling_disconnects_total{protocol="starling",reason="slow_reader"}')).toBe(5);
    expect(metrics.get("starling_connections")).toBe(2);
    expect(metrics.get("starling_drop_reports_total")).toBe(0);
    for (const client of slow) {
      client.resume();
      const { code } = await client.closed(15_000);
      expect(code).toBe(4001);
      const contents = client
        .messages("a")
        .map(({ content }) => Number((content as string).split(" ", 1)[0]));
      // No gap before the close: it was closed before anything was dropped.
      expect(contents).toEqual(Array.from({ length: contents.length }, (_, i) => i));
      expect(contents.length).toBeLessThan(COUNT);
    }
  });

  it("is cut and counted also where one turn brings more than may ever be held", async () => {
    const node = await startTestNode({ ...LIMITS, maxBufferedBytes: 65_536, messagesBurst: 10_000 });
    const [slow, sender] = [await node.client(), await node.client()];
    await slow.do("subscribe", { channel: "a" });
    slow.pause();
    for (let i = 0; i < COUNT; i++) sender.send({ action: "send", channel: "a", content: CONTENT });
    await until("the slow reader's end", async () => (await node.metric("starling_slow_closes_total")) === 1);
    expect(await node.metric("starling_connections")).toBe(1);
    expect(await node.metric("starling_drop_reports_total")).toBeGreaterThan(0);
    await sender.do("ping");
    slow.resume();
    expect([1006, 4001]).toContain((await slow.closed(15_000)).code);
  });

  it("costs the node no memory for what it misses", async () => {
    const node = await spawnNode({ ...LIMITS, messagesBurst: 10_000 });
    const slow = await Promise.all(Array.from({ length: 10 }, () => node.client()));
    const [neighbour, sender] = [await node.client(), await node.client()];
    for (const client of [...slow, neighbour]) await client.do("subscribe", { channel: "a" });
    const residentBytes = (): Promise<number> => node.metric("process_resident_memory_bytes");
    // Once with everyone reading: what fan-out itself needs is not counted.
    const publish = async (from: number, upTo: number): Promise<void> => {
      for (let sent = from; sent < upTo; sent += 10) {
        for (let i = 0; i < 10; i++) sender.send({ action: "send", channel: "a", content: CONTENT });
        await neighbour.contents("a", sent + 10);
      }
    };
    await publish(0, 400);
    const before = await residentBytes();
    for (const client of slow) client.pause();
    // The kernel holds up to tcp_rmem's most for each, which is 6 MB on one machine and 32 on another.
    const slowCloses = (): Promise<number> => node.metric("starling_slow_closes_total");
    for (let sent = 400; sent < 2_000 && (await slowCloses()) < 10; sent += 100)
      await publish(sent, sent + 100);
    expect(await slowCloses()).toBe(10);
    // Each missed more than the kernel holds, and was allowed 1 MB.
    expect((await residentBytes()) - before).toBeLessThan(60 * 1024 * 1024);
  });

  it("is found by what it is answered too, where it is subscribed to nothing", async () => {
    const node = await startTestNode({
      maxFrameBytes: 1000,
      maxBufferedBytes: 4096,
      messagesPerSecond: 1_000_000,
      messagesBurst: 10_000_000,
      ...{ bytesPerSecond: LIMITS.bytesPerSecond, bytesBurst: LIMITS.bytesBurst },
    });
    const client = await node.client();
    client.pause();
    const asks = setInterval(() => {
      for (let i = 0; i < 2000; i++) client.send({ action: "x".repeat(200), id: "y".repeat(60) });
    }, 5);
    try {
      await until("its end", async () => (await node.metric("starling_slow_closes_total")) === 1, 25_000);
    } finally {
      clearInterval(asks);
    }
    expect(await node.metric("starling_connections")).toBe(0);
  });

  it("that speaks Pusher's protocol is closed with 4100, or sent what it missed, as its channel's rules say", async () => {
    const namespaces = {
      "private-kept-*": { historySize: 1000, historyBytes: 128 * 1024 * 1024, slowReader: "repair" },
    } as unknown as never;
    const node = await startTestNode({ ...pusherOptions(), ...LIMITS, namespaces });
    const channels = ["private-plain", "private-kept-a"] as const;
    const open = async (channel: string): Promise<RawPusher> => {
      const client = await RawPusher.open(node);
      await client.join(channel);
      return client;
    };
    const neighbours = await Promise.all(channels.map(open));
    const [closed, skipped] = (await Promise.all(channels.map(open))) as [RawPusher, RawPusher];
    for (const { raw } of [closed, skipped]) raw.pause();
    let sent = 0;
    const isFound = async (): Promise<boolean> => {
      const metrics = await node.metrics();
      return ["closes", "skips"].every((what) => metrics.get(`starling_slow_${what}_total`) === 1);
    };
    while (sent < COUNT && !(await isFound())) {
      for (const upTo = sent + 10; sent < upTo; sent++) {
        for (const channel of channels)
          await node.post("/v1/publish", { channel, event: "e", content: [sent, CONTENT] });
      }
      await until("the neighbours have all", () =>
        neighbours.every((neighbour) => neighbour.had("e").length === sent),
      );
    }
    expect(await isFound()).toBe(true);
    const numbers = (client: RawPusher): number[] =>
      client.had("e").map(({ data }) => (JSON.parse(data as string) as [number])[0]);
    const all = Array.from({ length: sent }, (_, i) => i);
    for (const { raw } of [closed, skipped]) raw.resume();
    expect((await closed.raw.closed(15_000)).code).toBe(4100);
    expect(numbers(closed)).toEqual(all.slice(0, numbers(closed).length));
    await until("what the other missed", () => numbers(skipped).length === sent);
    for (const client of [skipped, ...neighbours]) expect(numbers(client)).toEqual(all);
  });
});
