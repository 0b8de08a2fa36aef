/** Frames that one client sends at once, and the turns of the loop in which they are taken. */

import { afterEach, describe, expect, it } from "vitest";
import { startEdge, turn, type TestEdge } from "./harness.js";

/** Of one connection in one turn, at 1,000 messages a second. */
const IN_A_TURN = 40;

/** That wait on a node: one more than may. */
const FULL_BYTES = 64 * 1024 * 1024 + 1;

let test: TestEdge;
afterEach(() => test.stop());

describe("frames that one client sends at once", () => {
  it("are taken some in each turn, in order, and others are served between them", async () => {
    test = await startEdge();
    const greedy = test.connect();
    const neighbour = test.connect();
    for (let id = 1; id <= 100; id++) greedy.type({ action: "ping", id });
    neighbour.type({ action: "ping", id: 1 });
    expect(greedy.of("reply")).toHaveLength(IN_A_TURN);
    expect(neighbour.of("reply")).toHaveLength(1);
    await turn();
    expect(greedy.of("reply")).toHaveLength(2 * IN_A_TURN);
    greedy.type({ action: "ping", id: 101 });
    await turn();
    expect(greedy.of("reply").map(({ id }) => id)).toEqual(Array.from({ length: 101 }, (_, n) => n + 1));
  });

  it("do not wait where each comes in a turn of its own", async () => {
    test = await startEdge();
    const socket = test.connect();
    for (let id = 1; id <= 2 * IN_A_TURN; id++) {
      socket.type({ action: "ping", id });
      expect(socket.last).toMatchObject({ id });
      await turn();
    }
  });

  it("of several clients take turns", async () => {
    test = await startEdge();
    const sockets = [test.connect(), test.connect(), test.connect()];
    for (const socket of sockets) {
      for (let id = 1; id <= 200; id++) socket.type({ action: "ping", id });
    }
    for (let turns = 0; sockets.some((socket) => socket.of("reply").length < 200); turns++) {
      expect(turns).toBeLessThan(100);
      await turn();
      const counts = sockets.map((socket) => socket.of("reply").length);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2 * IN_A_TURN);
    }
  });

  it("are published also where the client closes behind them", async () => {
    test = await startEdge();
    const socket = test.connect();
    socket.type({ action: "subscribe", channel: "a" });
    for (let n = 0; n < 200; n++) socket.type({ action: "send", channel: "a", content: n });
    socket.type({ action: "subscribe", channel: "b" });
    socket.leave(1000);
    expect(test.stats.connections).toBe(1);
    for (let turns = 0; test.stats.connections > 0; turns++) {
      expect(turns).toBeLessThan(100);
      await turn();
    }
    expect(test.broker.published).toHaveLength(200);
    expect(test.broker.subscribed).toEqual(["main/a"]);
    expect(test.edge.hub.channels.size).toBe(0);
  });

  it("are told as dropped where the client is closed for its rate before they are taken", async () => {
    const rate = { messagesPerSecond: 1, messagesBurst: 100, bytesPerSecond: 1e6, bytesBurst: 1e6 };
    test = await startEdge({ options: { rate } });
    const socket = test.connect();
    for (let id = 1; socket.open; id++) socket.type({ action: "ping", id });
    expect(socket.of("reply")).toHaveLength(16);
    expect(socket.of("error").map(({ dropped }) => dropped)).toEqual([
      { from: 101, to: 101 },
      { from: 17, to: 100 },
      { from: 102, to: 1101 },
    ]);
    expect(socket.closedWith).toMatchObject({ code: 4007 });
    await turn();
    expect(socket.of("reply")).toHaveLength(16);
  });

  it("are refused one by one once answers took more than the limit held", async () => {
    const rate = { messagesPerSecond: 1, messagesBurst: 100, bytesPerSecond: 1e6, bytesBurst: 1e6 };
    test = await startEdge({ options: { rate } });
    const socket = test.connect();
    for (let id = 1; id <= 20; id++) socket.type({ action: "ping", id });
    socket.handler.charge({ items: 1000, bytes: 0 });
    await turn();
    expect(socket.of("reply")).toHaveLength(16);
    expect(socket.of("error")).toMatchObject(
      [17, 18, 19, 20].map((id) => ({ id, code: "rate_limited", dropped: { from: id, to: id } })),
    );
  });

  it("wait for a turn also where their commands are over without a wait of their own", async () => {
    test = await startEdge({ options: { maxPendingFrames: 1000, maxPendingBytes: 1_000_000 } });
    const sockets = Array.from({ length: 10 }, () => test.connect());
    // Refused by a promise: none of these keeps history.
    for (const socket of sockets) {
      for (let id = 1; id <= 100; id++) socket.type({ action: "history", id, channel: "a" });
    }
    const answered = (): number => sockets.reduce((sum, socket) => sum + socket.of("error").length, 0);
    await turn();
    await turn();
    expect(answered()).toBeLessThan(200);
    for (let turns = 0; answered() < 1000; turns++) {
      expect(turns).toBeLessThan(1000);
      await turn();
    }
    for (const socket of sockets) {
      expect(socket.of("error").map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, n) => n + 1));
    }
  });

  it("are taken as they come where too many bytes wait on the node", async () => {
    test = await startEdge();
    const socket = test.connect();
    for (let id = 1; id <= IN_A_TURN + 10; id++) socket.type({ action: "ping", id });
    expect(socket.of("reply")).toHaveLength(IN_A_TURN);
    const { waiting } = test.edge.frameTurns;
    const bytes = waiting.bytes;
    expect(bytes).toBeGreaterThan(100);
    waiting.bytes += FULL_BYTES;
    socket.type({ action: "ping", id: IN_A_TURN + 11 });
    expect(socket.of("reply").map(({ id }) => id)).toEqual(
      Array.from({ length: IN_A_TURN + 11 }, (_, n) => n + 1),
    );
    expect(waiting.bytes).toBe(FULL_BYTES);
  });
});
