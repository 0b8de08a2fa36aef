import { eventually } from "../../support/eventually.js";
import { afterEach, describe, expect, it } from "vitest";
import type { HistoryPage } from "../../../src/core/broker.js";
import { DEFAULT_RULES } from "../../../src/core/channel-rules.js";
import { Encoding } from "../../../src/encoding/payload.js";
import {
  AWAY,
  authorizer,
  deferred,
  identity,
  startEdge,
  turn,
  type FakeSocket,
  type TestEdge,
} from "./harness.js";

let test: TestEdge;
afterEach(() => test.stop());

function subscribe(socket: FakeSocket, ...channels: string[]): void {
  for (const channel of channels) socket.type({ action: "subscribe", channel });
}

/** Connections of users, whose tokens are their names. */
const byName = authorizer({
  authenticate: ({ token }) => Promise.resolve(identity({ userId: token ?? null })),
});

async function connectAs(user: string): Promise<FakeSocket> {
  const socket = test.connect({ query: `token=${user}` });
  await turn();
  return socket;
}

describe("the hub", () => {
  it("hands a publication to a topic once per codec with subscribers, however many there are", async () => {
    test = await startEdge();
    const sockets = Array.from({ length: 20 }, () => test.connect());
    for (const socket of sockets) subscribe(socket, "a");
    test.broker.deliver({ key: "main/a", text: "hi" });
    expect(test.topics.publishes).toBe(1);
    for (const socket of sockets)
      expect(socket.last).toEqual({ type: "message", channel: "a", content: "hi" });
    expect(test.stats.framings[0]!.messagesOut).toBeGreaterThanOrEqual(20);
  });

  it("does not encode what nobody here hears, and counts it", async () => {
    test = await startEdge();
    subscribe(test.connect(), "a");
    test.broker.deliver({ key: "main/b" });
    test.broker.deliver({ key: "main/#user:ann" });
    test.broker.deliver({ key: "other/a" });
    expect(test.topics.publishes).toBe(0);
    expect(test.stats).toMatchObject({ publicationsDelivered: 0, publicationsUnheard: 3 });
    const heard = ["main/a", "main/b", "main/#user:ann", "other/a"].map((key) =>
      test.broker.handlers!.hasSubscribers(key),
    );
    expect(heard).toEqual([true, false, false, false]);
  });

  it("passes over the connection that a publication excludes, and nobody else", async () => {
    test = await startEdge();
    const [sender, other] = [test.connect(), test.connect()];
    for (const socket of [sender, other]) subscribe(socket, "a");
    test.broker.deliver({ key: "main/a", exclude: sender.handler.id });
    expect(sender.of("message")).toHaveLength(0);
    expect(other.of("message")).toHaveLength(1);
  });

  it("spares nobody for one that has closed and whose last frames are yet to be taken", async () => {
    test = await startEdge();
    const [sender, other] = [test.connect(), test.connect()];
    for (const socket of [sender, other]) socket.type({ action: "subscribe", channel: "a" });
    const send = { action: "send", channel: "a", content: 1, echo: false };
    for (let i = 0; i < 200; i++) sender.type(send);
    sender.leave(1005);
    expect(test.edge.hub.connections.has(sender.handler.id)).toBe(true);
    test.broker.deliver({ key: "main/a", exclude: sender.handler.id });
    expect(other.of("message")).toHaveLength(1);
    await eventually(() => expect(test.edge.hub.connections.has(sender.handler.id)).toBe(false));
    expect(test.broker.published).toHaveLength(200);
  });

  it("reaches all subscribers where the excluded connection is not one of them", async () => {
    test = await startEdge();
    const [sender, other] = [test.connect(), test.connect()];
    subscribe(other, "a");
    test.broker.deliver({ key: "main/a", exclude: sender.handler.id });
    subscribe(sender, "b");
    test.broker.deliver({ key: "main/a", exclude: sender.handler.id });
    test.broker.deliver({ key: "main/a", exclude: "elsewhere.1" });
    expect(other.of("message")).toHaveLength(3);
  });

  it("tells the bus of a channel's first and last local subscriber, and of no other", async () => {
    test = await startEdge();
    const [first, second] = [test.connect(), test.connect()];
    subscribe(first, "a");
    subscribe(second, "a");
    subscribe(first, "a");
    first.type({ action: "unsubscribe", channel: "a" });
    expect(test.broker.unsubscribed).toEqual([]);
    second.leave(1006);
    expect(test.broker.subscribed).toEqual(["main/a"]);
    expect(test.broker.unsubscribed).toEqual(["main/a"]);
    expect(test.edge.hub.channels.size).toBe(0);
    expect(test.stats.subscriptions).toBe(0);
  });

  it("waits once for the bus, and then subscribes all who asked meanwhile", async () => {
    test = await startEdge();
    const joining = deferred();
    test.broker.subscribing = () => joining.promise;
    const sockets = [test.connect(), test.connect()];
    for (const socket of sockets) socket.type({ action: "subscribe", id: 1, channel: "a" });
    expect(sockets.map(({ last }) => last!.type)).toEqual(["welcome", "welcome"]);
    joining.resolve();
    await turn();
    expect(test.broker.subscribed).toEqual(["main/a"]);
    for (const { last } of sockets) expect(last).toEqual({ type: "reply", id: 1, channel: "a" });
    const late = test.connect();
    late.type({ action: "subscribe", id: 2, channel: "a" });
    expect(late.last).toEqual({ type: "reply", id: 2, channel: "a" });
  });

  it("forgets a channel that the bus could not join, and asks anew the next time", async () => {
    test = await startEdge();
    let failing = true;
    test.broker.subscribing = () => (failing ? Promise.reject(AWAY) : undefined);
    const socket = test.connect();
    socket.type({ action: "subscribe", id: 1, channel: "a" });
    await turn();
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "unavailable" });
    expect(test.edge.hub.channels.size).toBe(0);
    failing = false;
    socket.type({ action: "subscribe", id: 2, channel: "a" });
    expect(socket.last).toEqual({ type: "reply", id: 2, channel: "a" });
    expect(test.broker.unsubscribed).toEqual(["main/a"]);
  });

  it("reaches all of a user's connections by #user:, without a subscription", async () => {
    test = await startEdge({ authorizer: byName });
    const [ann, bob] = [await connectAs("ann"), await connectAs("bob")];
    test.broker.deliver({ key: "main/#user:ann", text: "1" });
    const again = await connectAs("ann");
    test.broker.deliver({ key: "main/#user:ann", text: "2" });
    expect(ann.of("message").map(({ content }) => content)).toEqual(["1", "2"]);
    expect(again.of("message")).toEqual([{ type: "message", channel: "#user:ann", content: "2" }]);
    expect(bob.of("message")).toEqual([]);
    expect(test.edge.hub.hasSubscribers("main/#user:ann")).toBe(true);
    ann.leave(1000);
    again.leave(1000);
    test.broker.deliver({ key: "main/#user:ann", text: "3" });
    expect(test.stats.publicationsUnheard).toBe(1);
    expect(test.edge.hub.users.connections("main", "ann")).toEqual([]);
  });

  it("passes over the excluded connection of a user, and reaches the others", async () => {
    test = await startEdge({ authorizer: byName });
    const [first, second, bob] = [await connectAs("ann"), await connectAs("ann"), await connectAs("bob")];
    const id = String(first.received[0]!["connection"]);
    test.broker.deliver({ key: "main/#user:ann", exclude: id });
    test.broker.deliver({ key: "main/#user:bob", exclude: id });
    expect([first, second, bob].map((socket) => socket.of("message").length)).toEqual([0, 1, 1]);
  });

  it("lists channels in name order up to a limit, as every node must cut off the same", async () => {
    test = await startEdge({ options: { maxChannelsPerConnection: 10 } });
    const [first, second] = [test.connect(), test.connect()];
    subscribe(first, "b2", "b1", "a", "b3", "c");
    subscribe(second, "b1");
    expect(test.edge.hub.channelCounts("main", "b", 2)).toEqual({ b1: 2, b2: 1 });
    expect(Object.keys(test.edge.hub.channelCounts("main", "", 9))).toEqual(["a", "b1", "b2", "b3", "c"]);
    expect(test.edge.hub.channelCounts("other", "", 9)).toEqual({});
  });

  it("gives subscribers of either codec the same publication", async () => {
    test = await startEdge();
    const json = test.connect();
    subscribe(json, "a");
    test.broker.deliver({
      key: "main/a",
      payload: { bytes: Buffer.from([0x81, 0xa1, 0x61, 0x05]), encoding: Encoding.msgpack },
      from: { connection: "x.1", user: "ann" },
      event: "moved",
      tags: { kind: "test" },
    });
    expect(json.last).toEqual({
      type: "message",
      channel: "a",
      content: { a: 5 },
      from: { connection: "x.1", user: "ann" },
      event: "moved",
      tags: { kind: "test" },
    });
  });
});

describe("what the application commands", () => {
  it("disconnects all of a user's connections with a code that says not to come back", async () => {
    test = await startEdge({ authorizer: byName });
    const [first, second, bob] = [await connectAs("ann"), await connectAs("ann"), await connectAs("bob")];
    test.control.handlers!.command({
      kind: "disconnect",
      app: "main",
      target: { user: "ann" },
      reason: "banned",
    });
    for (const socket of [first, second]) {
      expect(socket.closedWith).toEqual({ code: 4502, reason: "banned" });
      expect(socket.last).toMatchObject({ type: "closing", code: 4502, reason: "banned", reconnect: false });
    }
    expect(bob.open).toBe(true);
  });

  it("takes a channel away and tells the client", async () => {
    test = await startEdge();
    const socket = test.connect();
    subscribe(socket, "a", "b");
    test.control.handlers!.command({
      kind: "unsubscribe",
      app: "main",
      target: { connection: socket.handler.id },
      channel: "a",
    });
    expect(socket.last).toMatchObject({ type: "unsubscribed", channel: "a" });
    test.broker.deliver({ key: "main/a" });
    expect(socket.of("message")).toEqual([]);
  });

  it("takes a channel away that is about to be joined, for the first time or again", async () => {
    const rules = { ...DEFAULT_RULES, history: { size: 10, ttlMs: 60_000 }, recovery: true };
    test = await startEdge({ rulesOf: () => rules });
    const socket = test.connect();
    const join = (id: number): void =>
      socket.type({ action: "subscribe", id, channel: "a", since: { offset: 0, epoch: "e" } });
    const takeAway = (): void =>
      test.control.handlers!.command({
        ...{ kind: "unsubscribe", app: "main" },
        target: { connection: socket.handler.id },
        channel: "a",
      });
    let read = deferred<HistoryPage>();
    test.broker.history = () => read.promise;
    const page = { publications: [], top: { offset: 0, epoch: "e" } };

    join(1);
    takeAway();
    read.resolve(page);
    await turn();
    expect(socket.last).toMatchObject({ type: "error", id: 1, code: "forbidden" });

    join(2);
    await turn();
    expect(socket.last).toMatchObject({ type: "reply", id: 2 });
    read = deferred();
    join(3);
    takeAway();
    expect(socket.last).toMatchObject({ type: "unsubscribed", channel: "a" });
    read.resolve(page);
    await turn();
    expect(socket.last).toMatchObject({ type: "error", id: 3, code: "forbidden" });
    expect([socket.handler.channelNames(), socket.handler.revoked]).toEqual([[], undefined]);

    join(4);
    await turn();
    expect(socket.last).toMatchObject({ type: "reply", id: 4 });
  });

  it("does nothing to a connection of another application", async () => {
    test = await startEdge();
    const socket = test.connect();
    const target = { connection: socket.handler.id };
    test.control.handlers!.command({ kind: "disconnect", app: "other", target, reason: "no" });
    expect(socket.open).toBe(true);
  });

  it("closes a socket whose session was resumed elsewhere, and ends no session by that", async () => {
    test = await startEdge();
    const socket = test.connect();
    test.registry.handlers!.superseded(socket.handler.id);
    expect(socket.closedWith).toMatchObject({ code: 4006 });
    expect(test.stats.superseded).toBe(1);
    expect(test.registry.removed).toEqual([{ id: socket.handler.id, resumable: false }]);
  });
});

describe("a drain", () => {
  it("refuses newcomers and closes everyone with 1012", async () => {
    test = await startEdge();
    const sockets = Array.from({ length: 10 }, () => test.connect());
    await test.edge.drain();
    for (const socket of sockets) expect(socket.closedWith).toMatchObject({ code: 1012 });
    expect(() => test.connect()).toThrow(/429/);
    expect(test.edge.notReadyReasons()).toContain("draining");
  });
});
