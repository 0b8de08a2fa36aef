import { describe, expect, it } from "vitest";
import type {
  ConnectOptions,
  Gap,
  Subscribed,
  SubscribeOptions,
  Subscription,
} from "../../../src/client/index.js";
import {
  succeed,
  type Answer,
  type FakeConnection,
  type ReceivedCommand,
} from "../../support/fake-server.js";
import { connected, retriesOf, setUp, until, type Setup } from "./harness.js";

type Respond = (command: ReceivedCommand, connection: FakeConnection) => Answer;

/** Of a server whose channels recover and stand at 5; `answers` by action go before. */
function recovering(answers: Record<string, Respond | Answer> = {}): Respond {
  return (command, connection) => {
    const own = answers[command.action];
    if (command.action in answers) return typeof own === "function" ? own(command, connection) : own;
    const given = succeed(command, connection);
    return command.action === "subscribe" ? { ...given, offset: 5, epoch: "e" } : given;
  };
}

interface Heard extends Setup {
  readonly subscription: Subscription;
  readonly contents: unknown[];
  readonly subscribed: Subscribed[];
  readonly gaps: Gap[];
  /** Of the client. */
  readonly told: Gap[];
}

async function hear(
  respond: Respond = recovering(),
  options: SubscribeOptions = {},
  connect: ConnectOptions = {},
): Promise<Heard> {
  const setup = await setUp(connect, { respond });
  const contents: unknown[] = [];
  const subscribed: Subscribed[] = [];
  const gaps: Gap[] = [];
  const told: Gap[] = [];
  setup.client.on("gap", (gap) => told.push(gap));
  const subscription = setup.client.subscribe("chat:1", ({ content }) => contents.push(content), {
    onSubscribed: (news) => void subscribed.push(news),
    onGap: (gap) => void gaps.push(gap),
    ...options,
  });
  await connected(setup);
  return { ...setup, subscription, contents, subscribed, gaps, told };
}

async function loseAndReturn(setup: Setup): Promise<void> {
  setup.server.last.terminate();
  await until(() => setup.client.state === "waiting");
  setup.clock.advance(retriesOf(setup.changes).at(-1)!);
  await connected(setup);
}

/** Everything that the server sent before was taken in. */
async function settled({ client }: Setup): Promise<void> {
  await client.ping();
}

describe("the position", () => {
  it("comes from the reply and goes on with each message", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    expect(setup.subscription.position).toEqual({ offset: 5, epoch: "e" });
    setup.server.last.messages("chat:1", [6, 7]);
    await settled(setup);
    expect(setup.subscription.position).toEqual({ offset: 7, epoch: "e" });
    expect(setup.contents).toEqual([6, 7]);
    expect(setup.subscribed).toEqual([{ channel: "chat:1", offset: 5, epoch: "e" }]);
  });

  it("is before the missed messages that follow a reply", async () => {
    const setup = await hear(
      recovering({
        subscribe: ({ id }, connection) => {
          connection.send({ type: "reply", id, offset: 5, epoch: "e", missed: 1 });
          connection.messages("chat:1", [5]);
          return undefined;
        },
      }),
    );
    await setup.subscription.ready;
    expect(setup.subscribed[0]).toMatchObject({ offset: 4 });
    await settled(setup);
    expect(setup.contents).toEqual([5]);
    expect(setup.subscription.position).toEqual({ offset: 5, epoch: "e" });
  });

  it("starts with the first message where the channel does not recover, and skips nothing for it", async () => {
    const setup = await hear(recovering({ subscribe: {} }));
    await setup.subscription.ready;
    setup.server.last.messages("chat:1", [41, 42]);
    await settled(setup);
    expect(setup.contents).toEqual([41, 42]);
    expect(setup.subscription.position).toEqual({ offset: 42, epoch: "e" });
    await loseAndReturn(setup);
    await setup.client.subscribe("chat:1", () => undefined).ready;
    setup.server.last.messages("chat:1", [50]);
    await settled(setup);
    expect(setup.contents).toEqual([41, 42, 50]);
    expect([setup.gaps, setup.errors]).toEqual([[], []]);
  });

  it("is not moved by messages without one", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.last.send({ type: "message", channel: "chat:1", content: "ingested" });
    setup.server.last.messages("chat:1", [6]);
    await settled(setup);
    expect(setup.contents).toEqual(["ingested", 6]);
  });
});

describe("messages out of order", () => {
  it("are dropped where they were had before, unseen by any listener", async () => {
    const setup = await hear();
    const every: unknown[] = [];
    setup.client.on("message", ({ content }) => every.push(content));
    await setup.subscription.ready;
    setup.server.last.messages("chat:1", [4, 5, 6, 6, 5, 7]);
    await settled(setup);
    expect([setup.contents, every, setup.errors]).toEqual([[6, 7], [6, 7], []]);
  });

  it.each<[string, [number[], string]]>([
    ["a later offset", [[8, 9], "e"]],
    ["another epoch", [[6, 7], "f"]],
  ])("with %s are a fault: reported once, and what is missing is asked for", async (_, [offsets, epoch]) => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.last.messages("chat:1", [6]);
    setup.server.last.messages("chat:1", offsets, epoch);
    await settled(setup);
    expect(setup.contents).toEqual([6]);
    expect(setup.errors).toHaveLength(1);
    expect(setup.errors[0]).toMatchObject({ code: "out_of_order", temporary: true });
    expect(setup.errors[0]!.message).toBe(
      `"chat:1": a message at ${offsets[0]} (${epoch}) follows 6 (e): the missing messages are requested`,
    );
    expect(setup.subscription.subscribed).toBe(false);
    setup.server.options.respond = recovering({
      subscribe: ({ id }, connection) => {
        connection.send({ type: "reply", id, offset: 9, epoch: "e", recovered: true, missed: 3 });
        connection.messages("chat:1", [7, 8, 9]);
        return undefined;
      },
    });
    setup.clock.advance(1000);
    await until(() => setup.contents.length === 4);
    expect(setup.contents).toEqual([6, 7, 8, 9]);
    const commands = setup.server.last.commands.filter(({ action }) => action !== "ping").slice(1);
    expect(commands).toMatchObject([
      { action: "unsubscribe", channel: "chat:1" },
      { action: "subscribe", channel: "chat:1", since: { offset: 6, epoch: "e" } },
    ]);
    expect([setup.gaps, setup.errors.length, setup.subscription.subscribed]).toEqual([[], 1, true]);
  });

  it("are not counted before the server holds the subscription", async () => {
    const setup = await hear(recovering({ subscribe: undefined }));
    await until(() => setup.server.last.actions("subscribe").length === 1);
    // Of an earlier subscription to the same channel.
    setup.server.last.messages("chat:1", [3]);
    const { id } = setup.server.last.actions("subscribe")[0]!;
    setup.server.last.send({ type: "reply", id, offset: 5, epoch: "e" });
    setup.server.last.messages("chat:1", [6]);
    await settled(setup);
    expect([setup.contents, setup.gaps, setup.errors]).toEqual([[6], [], []]);
  });
});

describe("after a reconnect", () => {
  it("a session that was resumed gets what was missed behind `subscribed`", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.last.messages("chat:1", [6]);
    await settled(setup);
    setup.server.options.respond = recovering({
      connect: { resume: "r2", resumed: true, channels: ["chat:1"], recovering: ["chat:1"] },
    });
    await loseAndReturn(setup);
    expect(setup.server.last.commands[0]).toMatchObject({
      action: "connect",
      resume: "s1.secret",
      positions: { "chat:1": { offset: 6, epoch: "e" } },
    });
    await settled(setup);
    expect(setup.subscription.subscribed).toBe(false);
    const said = { channel: "chat:1", offset: 9, epoch: "e", recovered: true, missed: 3 };
    setup.server.last.send({ type: "subscribed", ...said });
    setup.server.last.messages("chat:1", [7, 8, 9, 10]);
    await settled(setup);
    expect(setup.contents).toEqual([6, 7, 8, 9, 10]);
    expect(setup.subscribed[1]).toEqual({ channel: "chat:1", recovered: true, offset: 6, epoch: "e" });
    expect(setup.subscription.subscribed).toBe(true);
    expect(setup.server.last.actions("subscribe")).toEqual([]);
    expect([setup.gaps, setup.errors]).toEqual([[], []]);
  });

  it("a channel that was not restored is asked for from its position", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.options.respond = recovering({
      subscribe: { offset: 7, epoch: "e", recovered: true, missed: 2 },
    });
    await loseAndReturn(setup);
    await until(() => setup.subscription.subscribed);
    expect(setup.server.last.actions("subscribe")).toMatchObject([{ since: { offset: 5, epoch: "e" } }]);
    setup.server.last.messages("chat:1", [6, 7]);
    await settled(setup);
    expect(setup.contents).toEqual([6, 7]);
  });

  it("goes on from where it was where the connection broke within what was missed", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.options.respond = recovering({
      subscribe: ({ id }, connection) => {
        connection.send({ type: "reply", id, offset: 8, epoch: "e", recovered: true, missed: 3 });
        connection.messages("chat:1", [6]);
        return undefined;
      },
    });
    await loseAndReturn(setup);
    await until(() => setup.contents.length === 1);
    await loseAndReturn(setup);
    await until(() => setup.server.last.actions("subscribe").length === 1);
    expect(setup.server.last.actions("subscribe")).toMatchObject([{ since: { offset: 6, epoch: "e" } }]);
  });

  it.each<[string, Record<string, unknown>]>([
    ["another epoch", { offset: 2, epoch: "f", recovered: false, missed: 0 }],
    ["history that does not reach back", { offset: 40, epoch: "e", recovered: false, missed: 0 }],
    ["an offset that fell", { offset: 2, epoch: "e", recovered: false, missed: 0 }],
    ["a reply that leaves it open", { offset: 40, epoch: "e" }],
    ["a reply that contradicts itself", { offset: 40, epoch: "e", recovered: true, missed: 0 }],
  ])("%s is told as a gap, and messages go on from there", async (_, answer) => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.options.respond = recovering({ subscribe: answer });
    await loseAndReturn(setup);
    await until(() => setup.subscription.subscribed);
    const position = { offset: answer["offset"] as number, epoch: answer["epoch"] as string };
    const gap = { channel: "chat:1", recovered: false, ...position };
    expect([setup.gaps, setup.told]).toEqual([[gap], [gap]]);
    expect(setup.subscription.position).toEqual(position);
    setup.server.last.messages("chat:1", [position.offset + 1], position.epoch);
    await settled(setup);
    expect([setup.contents, setup.errors]).toEqual([[position.offset + 1], []]);
  });

  it("what is sent again is dropped", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.options.respond = recovering({
      subscribe: { offset: 6, epoch: "e", recovered: true, missed: 4 },
    });
    await loseAndReturn(setup);
    await until(() => setup.subscription.subscribed);
    setup.server.last.messages("chat:1", [3, 4, 5, 6]);
    await settled(setup);
    expect([setup.contents, setup.gaps, setup.errors]).toEqual([[6], [], []]);
  });

  it("a `subscribed` that was announced and does not come is not waited for forever", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.options.respond = recovering({
      connect: { resume: "r2", resumed: true, channels: ["chat:1"], recovering: ["chat:1"] },
    });
    await loseAndReturn(setup);
    setup.clock.advance(10_000);
    await until(() => setup.subscription.subscribed);
    expect(setup.server.last.commands.slice(1)).toMatchObject([
      { action: "unsubscribe" },
      { action: "subscribe", since: { offset: 5, epoch: "e" } },
    ]);
  });

  it("positions that have no room in `connect` are given with `subscribe`", async () => {
    const limits = { frameBytes: 1000 };
    const setup = await setUp({}, { welcome: { limits }, respond: recovering() });
    await connected(setup);
    const names = Array.from({ length: 20 }, (_, n) => `chat:${n}`);
    await Promise.all(names.map((name) => setup.client.subscribe(name, () => undefined).ready));
    setup.server.options.respond = recovering({
      connect: { resume: "r2", resumed: true, channels: names, recovering: names },
    });
    await loseAndReturn(setup);
    await until(() => setup.server.last.actions("subscribe").length > 0);
    await settled(setup);
    const [connect] = setup.server.last.commands;
    const positions = connect!["positions"] as object;
    expect(Object.keys(positions).length).toBeGreaterThan(0);
    const asked = setup.server.last.actions("subscribe");
    for (const { since } of asked) expect(since).toEqual({ offset: 5, epoch: "e" });
    expect([...Object.keys(positions), ...asked.map(({ channel }) => channel)].sort()).toEqual(names.sort());
    expect(setup.server.last.channels("unsubscribe")).toEqual(asked.map(({ channel }) => channel));
  });

  it("a channel that could not be restored just now is asked for later, from its position", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.options.respond = recovering({
      connect: { resume: "r2", resumed: true, channels: ["chat:1"], recovering: ["chat:1"] },
    });
    await loseAndReturn(setup);
    const why = { code: "unavailable", message: "the message bus is unreachable" };
    setup.server.last.send({ type: "unsubscribed", channel: "chat:1", ...why });
    await settled(setup);
    expect([setup.subscription.subscribed, setup.errors.length]).toEqual([false, 1]);
    expect(setup.server.last.actions("subscribe")).toEqual([]);
    setup.clock.advance(1000);
    await until(() => setup.subscription.subscribed);
    expect(setup.server.last.commands.filter(({ action }) => action !== "ping").slice(1)).toMatchObject([
      { action: "subscribe", since: { offset: 5, epoch: "e" } },
    ]);
    // Nor is the `subscribed` waited for any more that was announced.
    setup.clock.advance(20_000);
    await settled(setup);
    expect(setup.server.last.actions("subscribe")).toHaveLength(1);
  });

  it("a `subscribed` for a subscription that was ended and made again is let be", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.options.respond = recovering({
      connect: { resume: "r2", resumed: true, channels: ["chat:1"], recovering: ["chat:1"] },
      subscribe: undefined,
    });
    await loseAndReturn(setup);
    setup.subscription.unsubscribe();
    const again = setup.client.subscribe("chat:1", () => undefined);
    setup.server.last.send({ type: "subscribed", channel: "chat:1", offset: 5, epoch: "e", recovered: true });
    await settled(setup);
    expect([again.subscribed, again.position]).toEqual([false, undefined]);
  });
});

describe("a subscription", () => {
  it("can go on from a position of an earlier life", async () => {
    const since = { offset: 3, epoch: "e" };
    const answer = { offset: 5, epoch: "e", recovered: true, missed: 2 };
    const setup = await hear(recovering({ subscribe: answer }), { since });
    await setup.subscription.ready;
    expect(setup.server.last.commands).toMatchObject([{ action: "subscribe", since }]);
    expect(setup.subscribed).toEqual([{ channel: "chat:1", recovered: true, ...since }]);
    setup.server.last.messages("chat:1", [4, 5]);
    await settled(setup);
    expect(setup.contents).toEqual([4, 5]);
  });

  it("whose answer came too late is ended before it is asked for again", async () => {
    const setup = await hear(recovering({ subscribe: undefined }));
    await until(() => setup.server.last.actions("subscribe").length === 1);
    setup.server.options.respond = recovering();
    setup.clock.advance(10_000);
    setup.clock.advance(1000);
    await setup.subscription.ready;
    const actions = setup.server.last.commands.map(({ action }) => action);
    expect(actions).toEqual(["subscribe", "unsubscribe", "subscribe"]);
  });
});

describe("a subscription that the server may hold", () => {
  it("is not gone on with before it could be ended: the server would not say from where", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.last.messages("chat:1", [9]);
    await settled(setup);
    setup.server.options.respond = recovering({
      unsubscribe: { code: "rate_limited", message: "slow down", temporary: true },
      subscribe: { channel: "chat:1" },
    });
    setup.clock.advance(1000);
    await until(() => setup.server.last.actions("subscribe").length === 2);
    setup.server.last.messages("chat:1", [10]);
    await settled(setup);
    expect([setup.contents, setup.subscription.subscribed]).toEqual([[], false]);
    setup.server.options.respond = recovering({
      subscribe: ({ id }, connection) => {
        connection.send({ type: "reply", id, offset: 10, epoch: "e", recovered: true, missed: 5 });
        connection.messages("chat:1", [6, 7, 8, 9, 10]);
        return undefined;
      },
    });
    setup.clock.advance(2000);
    await until(() => setup.contents.length === 5);
    expect(setup.server.last.actions("subscribe")[2]).toMatchObject({ since: { offset: 5, epoch: "e" } });
    expect(setup.gaps).toEqual([]);
  });
});

describe("a gap", () => {
  it("that is filled is told, and moves nothing: the messages follow", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    const gap = { type: "gap", channel: "chat:1", recovered: true, offset: 8, epoch: "e", missed: 3 };
    setup.server.last.send(gap);
    setup.server.last.messages("chat:1", [6, 7, 8]);
    await settled(setup);
    const told = { channel: "chat:1", recovered: true, offset: 5, epoch: "e" };
    expect([setup.gaps, setup.told, setup.contents, setup.errors]).toEqual([[told], [told], [6, 7, 8], []]);
  });

  it("that is not filled is told, and messages go on from its position", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.last.send({ type: "gap", channel: "chat:1", recovered: false, offset: 3, epoch: "f" });
    setup.server.last.messages("chat:1", [4], "f");
    await settled(setup);
    const told = { channel: "chat:1", recovered: false, offset: 3, epoch: "f" };
    expect([setup.gaps, setup.contents, setup.errors]).toEqual([[told], [4], []]);
  });

  it("that leaves only the newest is told with where that stands", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    const gap = { type: "gap", channel: "chat:1", recovered: false, offset: 90, epoch: "e", missed: 1 };
    setup.server.last.send(gap);
    setup.server.last.messages("chat:1", [90, 91]);
    await settled(setup);
    expect(setup.gaps).toEqual([{ channel: "chat:1", recovered: false, offset: 89, epoch: "e" }]);
    expect([setup.contents, setup.errors]).toEqual([[90, 91], []]);
  });

  it("that is said to be filled from too late on is asked for", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    const gap = { type: "gap", channel: "chat:1", recovered: true, offset: 9, epoch: "e", missed: 2 };
    setup.server.last.send(gap);
    setup.server.last.messages("chat:1", [8, 9]);
    await settled(setup);
    expect([setup.contents, setup.gaps]).toEqual([[], []]);
    expect(setup.errors).toMatchObject([{ code: "out_of_order" }]);
    setup.clock.advance(1000);
    await until(() => setup.server.last.actions("subscribe").length === 2);
    expect(setup.server.last.actions("subscribe")[1]).toMatchObject({ since: { offset: 5, epoch: "e" } });
  });

  it("that comes while missing messages are being asked for does not move where they are asked from", async () => {
    const setup = await hear();
    await setup.subscription.ready;
    setup.server.last.messages("chat:1", [9]);
    setup.server.last.send({ type: "gap", channel: "chat:1", recovered: false, offset: 20, epoch: "e" });
    setup.server.last.messages("chat:1", [21]);
    await settled(setup);
    expect([setup.contents, setup.gaps, setup.errors.length]).toEqual([[], [], 1]);
    setup.clock.advance(1000);
    await until(() => setup.server.last.actions("subscribe").length === 2);
    expect(setup.server.last.actions("subscribe")[1]).toMatchObject({ since: { offset: 5, epoch: "e" } });
  });

  it("of a channel without history has no position", async () => {
    const setup = await hear(recovering({ subscribe: {} }));
    await setup.subscription.ready;
    setup.server.last.send({ type: "gap", channel: "chat:1", recovered: false });
    await settled(setup);
    expect([setup.gaps, setup.told]).toEqual([
      [{ channel: "chat:1", recovered: false }],
      [{ channel: "chat:1", recovered: false }],
    ]);
  });
});
