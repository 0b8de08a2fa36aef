import { afterEach, describe, expect, it, vi } from "vitest";
import { DEFAULT_RULES } from "../../../src/core/channel-rules.js";
import { SEND_RESULTS } from "../../../src/core/transport.js";
import { MemoryHistory } from "../../../src/memory/history.js";
import { Encoding } from "../../../src/encoding/payload.js";
import { type Position } from "../../../src/core/publication.js";
import { OPTIONS, deferred, startEdge, taken, turn, type FakeSocket, type TestEdge } from "./harness.js";

const RULE = { size: 1000, ttlMs: 60_000 };
const MAX = OPTIONS.maxBufferedBytes;
const COUNT = 200;

let test: TestEdge;
afterEach(() => {
  vi.restoreAllMocks();
  return test.stop();
});

/** Channels that keep history, of which each is 20 times as long as what may wait. */
async function start(channels: readonly string[], messagesBurst = 1_000_000): Promise<Map<string, Position>> {
  test = await startEdge({
    options: { maxChannelsPerConnection: 100, rate: { ...OPTIONS.rate, messagesBurst } },
    rulesOf: () => ({
      ...DEFAULT_RULES,
      history: RULE,
      recovery: true,
      presence: true,
      slowReader: "repair",
    }),
  });
  const history = new MemoryHistory(1000, 1000);
  const tops = new Map<string, Position>();
  for (const channel of channels) {
    for (let i = 1; i <= COUNT; i++) {
      const bytes = Buffer.from(JSON.stringify(`${i}`.padEnd(900, "x")));
      const publication = { key: `main/${channel}`, payload: { bytes, encoding: Encoding.json } };
      const rest = {
        from: undefined,
        event: undefined,
        tags: undefined,
        exclude: undefined,
        position: undefined,
      };
      const { position } = history.append({ ...publication, ...rest, publishedAtMs: 0 }, RULE, undefined);
      tops.set(channel, position);
    }
  }
  test.broker.history = (key, query) => Promise.resolve(history.read(key, query));
  test.broker.positions = (asked) =>
    Promise.resolve((asked as { key: string }[]).map(({ key }) => history.top(key, RULE)));
  return tops;
}

/** It reads nothing: what it is sent waits, up to the transport's limit. @returns the most that waited */
function stall(socket: FakeSocket): () => number {
  let most = 0;
  socket.send = (frame) => {
    // As node.ts sets it.
    if (socket.buffered > MAX * 1.75) return SEND_RESULTS.indexOf("dropped");
    socket.buffered += frame.length;
    most = Math.max(most, socket.buffered);
    socket.receive(frame, false);
    return SEND_RESULTS.indexOf("buffered");
  };
  return () => most;
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

describe("a client that does not read has at most twice maxBufferedBytes waiting for it", () => {
  it("whatever it asks of history, and is closed with 4001", async () => {
    await start(["a"]);
    const socket = test.connect();
    const most = stall(socket);
    for (let id = 1; id <= 100 && socket.open; id++) {
      socket.type({ action: "history", id, channel: "a", limit: 1000 });
      await turn();
    }
    expect(socket.closedWith).toMatchObject({ code: 4001 });
    expect(most()).toBeGreaterThan(MAX);
    expect(most()).toBeLessThanOrEqual(2 * MAX);
    expect(test.stats.dropReports).toBe(0);
  });

  it("whoever is in a channel", async () => {
    await start(["a"]);
    const members = Array.from({ length: 1000 }, (_, i) => ({
      connection: `c${i}`,
      user: "\u{1F600}".repeat(64),
    }));
    const page = { members, connections: 1000, users: 1000 };
    test.edge.presence.members = (_key, _limit, tell) => {
      tell?.(page);
      return Promise.resolve(page);
    };
    const socket = test.connect();
    const most = stall(socket);
    for (let id = 1; id <= 100 && socket.open; id++) {
      socket.type({ action: "presence", id, channel: "a", limit: 1000 });
      await turn();
    }
    expect(socket.closedWith).toMatchObject({ code: 4001 });
    expect(most()).toBeLessThanOrEqual(2 * MAX);
    expect(socket.of("reply")[0]).toMatchObject({ connections: 1000, users: 1000 });
  });

  it("whoever is in a channel and shows much: as many as fit are told, which the counts tell", async () => {
    await start(["a"]);
    const members = Array.from({ length: 1000 }, (_, i) => ({
      connection: `c${i}`,
      user: `user ${i}`,
      info: JSON.stringify("x".repeat(1022)),
    }));
    const page = { members, connections: 1000, users: 1000 };
    test.edge.presence.members = (_key, _limit, tell) => {
      tell?.(page);
      return Promise.resolve(page);
    };
    const socket = test.connect();
    const most = stall(socket);
    socket.type({ action: "presence", id: 1, channel: "a", limit: 1000 });
    await turn();
    const reply = socket.of("reply")[0]!;
    expect((reply["members"] as { info: string }[]).map(({ info }) => info.length)).toEqual([1022, 1022]);
    expect(reply).toMatchObject({ connections: 1000, users: 1000 });
    for (let id = 2; id <= 100 && socket.open; id++) {
      socket.type({ action: "presence", id, channel: "a", limit: 1000 });
      await turn();
    }
    expect(socket.closedWith).toMatchObject({ code: 4001 });
    expect(most()).toBeLessThanOrEqual(2 * MAX);
  });

  it("however much it missed in many channels, and it gets all of that once it reads", async () => {
    const channels = Array.from({ length: 20 }, (_, i) => `c${i}`);
    const tops = await start(channels);
    test.registry.taking = () => Promise.resolve(taken({ channels }));
    const socket = test.connect();
    const most = stall(socket);
    const positions = Object.fromEntries(
      channels.map((channel) => [channel, { offset: 0, epoch: tops.get(channel)!.epoch }]),
    );
    socket.handler.message(
      Buffer.from(JSON.stringify({ action: "connect", id: 1, resume: "test.old.secret", positions })),
      false,
    );
    await turns(50);
    expect(socket.open).toBe(true);
    expect(most()).toBeGreaterThan(MAX / 4);
    expect(most()).toBeLessThanOrEqual(2 * MAX);
    const count = (): number => socket.of("message").length;
    expect(count()).toBeLessThan(100);
    for (let i = 0; i < 5000 && count() < 20 * COUNT; i++) {
      socket.buffered = 0;
      socket.handler.drained();
      await turns(3);
    }
    expect(most()).toBeLessThanOrEqual(2 * MAX);
    for (const channel of channels) {
      const offsets = socket.of("message").filter((frame) => frame["channel"] === channel);
      expect(offsets.map(({ offset }) => offset)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
    }
    await turns(3);
    expect(socket.topics.size).toBe(20);
    for (const gap of socket.of("gap")) expect(gap).toMatchObject({ recovered: true });
  });

  it.each(["reads", "was skipped before"])(
    "however much it missed of a channel that it is subscribed to already, and it gets all of that: it %s",
    async (how) => {
      const { epoch, offset } = (await start(["a"])).get("a")!;
      const socket = test.connect();
      socket.type({ action: "subscribe", id: 1, channel: "a", since: { offset, epoch } });
      await turns(3);
      const most = stall(socket);
      if (how === "was skipped before") {
        socket.buffered = MAX * 1.2;
        socket.handler.checkBuffered();
        expect(socket.handler.skipped?.size).toBe(1);
        // Room for less than history gives at a time.
        socket.buffered = MAX * 0.45;
      }
      socket.type({ action: "subscribe", id: 2, channel: "a", since: { offset: 0, epoch } });
      await turns(3);
      const offsets = (): unknown[] => socket.of("message").map((message) => message["offset"]);
      expect(offsets().length).toBeLessThan(COUNT);
      expect(most()).toBeLessThanOrEqual(2 * MAX);
      for (let i = 0; i < 100 && offsets().length < COUNT; i++) {
        socket.buffered = 0;
        socket.handler.drained();
        await turns(3);
      }
      expect(offsets()).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
      await turns(3);
      expect([...socket.topics]).toEqual(["j/main/a"]);
      expect(socket.handler.skipped).toBeUndefined();
    },
  );

  it("and subscribes again while it is repaired: nothing is sent twice", async () => {
    const { epoch } = (await start(["a"])).get("a")!;
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a", since: { offset: 0, epoch } });
    stall(socket);
    await turns(1);
    const first = Number(socket.of("message").at(-1)!["offset"]);
    // What it asks for is read before what repairs it.
    const read = test.broker.history.bind(test.broker);
    const asked = deferred();
    test.broker.history = async (key, query) => {
      if (query.since?.offset === first) await asked.promise;
      return read(key, query);
    };
    socket.buffered = 0;
    socket.handler.drained();
    socket.type({ action: "subscribe", id: 2, channel: "a", since: { offset: 50, epoch } });
    await turns(3);
    asked.resolve();
    for (let i = 0; i < 100 && socket.of("message").at(-1)!["offset"] !== COUNT; i++) {
      socket.buffered = 0;
      socket.handler.drained();
      await turns(3);
    }
    const offsets = socket.of("message").map((message) => message["offset"]);
    expect(offsets).toEqual([
      ...Array.from({ length: first }, (_, i) => i + 1),
      ...Array.from({ length: COUNT - 50 }, (_, i) => i + 51),
    ]);
  });
});

it("a subscriber that is off its topic while it reads counts as one, and its channel is there for as long", async () => {
  const { epoch } = (await start(["a"])).get("a")!;
  const socket = test.connect();
  socket.type({ action: "subscribe", id: 1, channel: "a", since: { offset: 0, epoch } });
  stall(socket);
  await turns(1);
  const { hub } = test.edge;
  expect([socket.handler.skipped?.size, [...socket.topics]]).toEqual([1, []]);
  expect([hub.subscriberCounts("main", ["a"]), hub.channelCounts("main", "", 9)]).toEqual([[1], { a: 1 }]);
  while (socket.handler.skipped !== undefined) {
    socket.buffered = 0;
    socket.handler.drained();
    await turns(3);
  }
  expect(hub.subscriberCounts("main", ["a"])).toEqual([1]);
  socket.leave(1000);
  expect([hub.subscriberCounts("main", ["a"]), hub.channels.size]).toEqual([[0], 0]);
});

describe("an answer's cost", () => {
  it("counts towards the rate: subscribing from the beginning again and again ends", async () => {
    const { epoch } = (await start(["a"], 1000)).get("a")!;
    const socket = test.connect();
    // Nothing is forgiven meanwhile, however long this takes.
    const nowMs = performance.now();
    vi.spyOn(performance, "now").mockReturnValue(nowMs);
    let replayed = 0;
    for (let id = 1; id <= 2000 && socket.of("error").length === 0; id++) {
      socket.type({ action: "subscribe", id, channel: "a", since: { offset: 0, epoch } });
      await turn();
      replayed = socket.of("message").length;
      socket.type({ action: "unsubscribe", channel: "a" });
    }
    expect(socket.last).toMatchObject({ type: "error", code: "rate_limited" });
    // 900 bytes and an item are 0.475 of a message.
    expect(replayed).toBeLessThan(2500);
  });
});
