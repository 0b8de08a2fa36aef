import { afterEach, describe, expect, it, vi } from "vitest";
import type { Removal } from "../../../src/client/index.js";
import { succeed, type Answer } from "../../support/fake-server.js";
import { connected, rejection, setUp, until } from "./harness.js";

afterEach(() => vi.restoreAllMocks());

const nothing = () => undefined;

function refusing(answer: Answer) {
  return (command: Parameters<typeof succeed>[0], connection: Parameters<typeof succeed>[1]) =>
    command.action === "subscribe" ? answer : succeed(command, connection);
}

describe("subscribe", () => {
  it("hands messages of the channel to its handler, and of no other", async () => {
    const setup = await setUp();
    const heard: unknown[] = [];
    const every: unknown[] = [];
    setup.client.on("message", (message) => every.push(message.channel));
    await setup.client.subscribe("room", (message) => heard.push(message)).ready;
    const message = {
      type: "message",
      channel: "room",
      content: { a: 1 },
      from: { connection: "c9", user: "42" },
      event: "said",
      tags: { lang: "en" },
      offset: 3,
      epoch: "e",
    };
    setup.server.last.send({ type: "message", channel: "other", content: 1 });
    setup.server.last.send(message);
    await until(() => heard.length === 1);
    expect(heard).toEqual([message]);
    expect(every).toEqual(["other", "room"]);
  });

  it("is ready when the server has confirmed it, not before", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    const subscription = setup.client.subscribe("room", nothing);
    let ready = false;
    void subscription.ready.then(() => (ready = true));
    await connected(setup);
    await until(() => setup.server.last.commands.length === 1);
    expect([ready, subscription.subscribed]).toEqual([false, false]);
    setup.server.last.send({ type: "reply", id: setup.server.last.commands[0]!.id });
    await until(() => ready);
    expect(subscription.subscribed).toBe(true);
  });

  it("shares one subscription among handlers, and ends it with the last", async () => {
    const setup = await setUp();
    const heard: string[] = [];
    const first = setup.client.subscribe("room", () => heard.push("first"));
    const second = setup.client.subscribe("room", () => heard.push("second"));
    await Promise.all([first.ready, second.ready]);
    setup.server.last.send({ type: "message", channel: "room", content: 1 });
    await until(() => heard.length === 2);
    first.unsubscribe();
    first.unsubscribe();
    setup.server.last.send({ type: "message", channel: "room", content: 2 });
    await until(() => heard.length === 3);
    expect(heard).toEqual(["first", "second", "second"]);
    expect([first.subscribed, second.subscribed]).toEqual([false, true]);
    await setup.client.ping();
    expect(setup.server.last.channels("unsubscribe")).toEqual([]);
    second.unsubscribe();
    await setup.client.ping();
    expect(setup.server.last.channels("subscribe")).toEqual(["room"]);
    expect(setup.server.last.channels("unsubscribe")).toEqual(["room"]);
  });

  it("can be made again right after it was ended", async () => {
    const setup = await setUp();
    await connected(setup);
    const first = setup.client.subscribe("room", nothing);
    first.unsubscribe();
    expect(await rejection(first.ready)).toMatchObject({ code: "closed" });
    await setup.client.subscribe("room", nothing).ready;
    const actions = setup.server.last.commands.map(({ action }) => action);
    expect(actions).toEqual(["subscribe", "unsubscribe", "subscribe"]);
  });

  it("is not asked for where it was ended while offline", async () => {
    const setup = await setUp();
    setup.client.subscribe("room", nothing).unsubscribe();
    await connected(setup);
    await setup.client.ping();
    expect(setup.server.last.actions("subscribe")).toEqual([]);
  });

  it("rejects a permanent refusal, tells it once, and does not ask again", async () => {
    const answer = { code: "forbidden", message: "not you", temporary: false };
    const setup = await setUp({}, { respond: refusing(answer) });
    const removals: Removal[] = [];
    const own: Removal[] = [];
    setup.client.on("unsubscribed", (removal) => removals.push(removal));
    const options = { onUnsubscribed: (removal: Removal) => void own.push(removal) };
    const subscription = setup.client.subscribe("secret", nothing, options);
    expect(await rejection(subscription.ready)).toMatchObject({ code: "forbidden", temporary: false });
    const removal = { channel: "secret", code: "forbidden", message: "not you" };
    expect([removals, own, setup.errors]).toEqual([[removal], [removal], []]);
    setup.clock.advance(35_000);
    await setup.client.ping();
    expect(setup.server.last.channels("subscribe")).toEqual(["secret"]);
  });

  it("reports a refusal as an error where nobody listens for it", async () => {
    const answer = { code: "bad_channel", message: "a space at 1", temporary: false };
    const setup = await setUp({}, { respond: refusing(answer) });
    setup.client.subscribe("a b", nothing);
    await until(() => setup.errors.length === 1);
    expect(setup.errors[0]).toMatchObject({ code: "bad_channel", message: "a space at 1" });
  });

  it("retries a temporary refusal with backoff, obeying its hint", async () => {
    const setup = await setUp(
      {},
      { respond: refusing({ code: "unavailable", message: "bus", temporary: true }) },
    );
    const { ready } = setup.client.subscribe("room", nothing);
    await until(() => setup.errors.length === 1);
    setup.clock.advance(999);
    await setup.client.ping();
    expect(setup.server.last.actions("subscribe")).toHaveLength(1);
    setup.server.options.respond = refusing({
      code: "rate_limited",
      message: "slow",
      temporary: true,
      retryAfterMs: 5000,
    });
    setup.clock.advance(1);
    await until(() => setup.errors.length === 2);
    expect(setup.server.last.actions("subscribe")).toHaveLength(2);
    delete setup.server.options.respond;
    setup.clock.advance(6999);
    await setup.client.ping();
    expect(setup.server.last.actions("subscribe")).toHaveLength(2);
    setup.clock.advance(1);
    await ready;
    expect(setup.server.last.actions("subscribe")).toHaveLength(3);
  });

  it("does not retry what is not wanted any more", async () => {
    const setup = await setUp(
      {},
      { respond: refusing({ code: "unavailable", message: "bus", temporary: true }) },
    );
    const subscription = setup.client.subscribe("room", nothing);
    await until(() => setup.errors.length === 1);
    subscription.unsubscribe();
    setup.clock.advance(20_000);
    await setup.client.ping();
    expect(setup.server.last.actions("subscribe")).toHaveLength(1);
  });

  it("asks again on the next connection where the answer was lost with this one", async () => {
    const setup = await setUp({}, { respond: refusing(undefined) });
    const { ready } = setup.client.subscribe("room", nothing);
    await connected(setup);
    await until(() => setup.server.last.commands.length === 1);
    delete setup.server.options.respond;
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1000);
    await ready;
    expect(setup.server.connections[1]!.channels("subscribe")).toEqual(["room"]);
    expect(setup.errors).toEqual([]);
  });

  it("asks again where the answer did not come in time", async () => {
    const setup = await setUp({}, { respond: refusing(undefined) });
    const { ready } = setup.client.subscribe("room", nothing);
    await connected(setup);
    await until(() => setup.server.last.commands.length === 1);
    delete setup.server.options.respond;
    setup.clock.advance(10_000);
    expect(setup.errors[0]).toMatchObject({ code: "timeout", sent: true });
    setup.clock.advance(1000);
    await ready;
  });

  it("ends when the server takes it away, and tells whose it was", async () => {
    const setup = await setUp();
    const removals: Removal[] = [];
    const heard: unknown[] = [];
    const subscription = setup.client.subscribe("room", ({ content }) => heard.push(content), {
      onUnsubscribed: (removal) => void removals.push(removal),
    });
    await subscription.ready;
    setup.server.last.send({
      type: "unsubscribed",
      channel: "room",
      code: "forbidden",
      message: "withdrawn",
    });
    setup.server.last.send({ type: "message", channel: "room", content: "late" });
    await until(() => removals.length === 1);
    await setup.client.ping();
    expect(removals).toEqual([{ channel: "room", code: "forbidden", message: "withdrawn" }]);
    expect(subscription.subscribed).toBe(false);
    expect(heard).toEqual([]);
    subscription.unsubscribe();
    await setup.client.subscribe("room", nothing).ready;
    expect(setup.server.last.actions("unsubscribe")).toEqual([]);
  });

  it("hears the server's own channel of its user without asking for it", async () => {
    const respond = (...[command, connection]: Parameters<typeof succeed>) => ({
      ...succeed(command, connection),
      ...(command.action === "connect" ? { user: "42" } : {}),
    });
    const setup = await setUp({ token: "of 42" }, { respond });
    const heard: unknown[] = [];
    const onSubscribed = vi.fn();
    const subscription = setup.client.subscribe("#user:42", ({ content }) => heard.push(content), {
      onSubscribed,
    });
    await subscription.ready;
    expect(onSubscribed.mock.calls).toEqual([[{ channel: "#user:42" }]]);
    setup.server.last.send({ type: "message", channel: "#user:42", content: "you" });
    await until(() => heard.length === 1);
    subscription.unsubscribe();
    await setup.client.ping();
    expect(setup.server.last.commands.map(({ action }) => action)).toEqual(["connect", "ping"]);
  });

  it.each([
    ["#user:42", "this one is not identified"],
    ["#news", "only #user:<user> reaches anybody"],
  ])("is never ready in %s, where nothing can arrive", async (channel, why) => {
    const setup = await setUp();
    const onUnsubscribed = vi.fn();
    const { ready } = setup.client.subscribe(channel, nothing, { onUnsubscribed });
    const error = await rejection(ready);
    expect(onUnsubscribed.mock.calls).toEqual([[{ channel, code: "forbidden", message: error.message }]]);
    expect(error).toMatchObject({ code: "forbidden", temporary: false });
    expect(error.message).toContain(`nothing can arrive in "${channel}"`);
    expect(error.message).toContain(why);
    expect(setup.errors).toEqual([]);
  });

  it("does not report what `ready` already tells, and reports what is taken away later", async () => {
    const print = vi.spyOn(console, "error").mockImplementation(nothing);
    const answer = { code: "forbidden", message: "not you", temporary: false };
    const setup = await setUp({}, { respond: refusing(answer) });
    expect(await rejection(setup.client.subscribe("secret", nothing).ready)).toMatchObject(answer);
    delete setup.server.options.respond;
    await setup.client.subscribe("room", nothing).ready;
    expect([setup.errors, print.mock.calls]).toEqual([[], []]);
    setup.server.last.send({
      type: "unsubscribed",
      channel: "room",
      code: "forbidden",
      message: "withdrawn",
    });
    await until(() => setup.errors.length === 1);
    expect(setup.errors[0]).toMatchObject({ code: "forbidden", message: "withdrawn" });
  });

  it("ends with its block where that is said by `using`", async () => {
    const setup = await setUp();
    const subscription = setup.client.subscribe("room", nothing);
    await subscription.ready;
    subscription[Symbol.dispose]();
    expect(subscription.subscribed).toBe(false);
    setup.client[Symbol.dispose]();
    expect(setup.client.state).toBe("closed");
  });

  it("lets a later handler wait for the connection, not for the one before", async () => {
    const setup = await setUp();
    await setup.client.subscribe("room", nothing).ready;
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    const later = setup.client.subscribe("room", nothing);
    let ready = false;
    void later.ready.then(() => (ready = true));
    await Promise.resolve();
    expect([ready, later.subscribed]).toEqual([false, false]);
    setup.clock.advance(1000);
    await later.ready;
  });
});

describe("handlers that throw", () => {
  it("are reported and hinder nobody else", async () => {
    const setup = await setUp();
    const heard: unknown[] = [];
    setup.client.subscribe("room", () => {
      throw new Error("mine");
    });
    setup.client.subscribe("room", () => Promise.reject(new Error("later")));
    await setup.client.subscribe("room", ({ content }) => heard.push(content)).ready;
    setup.server.last.send({ type: "message", channel: "room", content: 1 });
    setup.server.last.send({ type: "message", channel: "room", content: 2 });
    await until(() => heard.length === 2 && setup.errors.length === 4);
    expect(setup.errors[0]).toMatchObject({
      code: "handler_failed",
      message: 'the handler of "room" failed: mine',
      cause: new Error("mine"),
    });
    expect(setup.client.state).toBe("connected");
  });

  it("go to the console where nobody listens, also when the listener itself throws", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(nothing);
    const setup = await setUp();
    await connected(setup);
    const off = setup.client.on("error", () => {
      throw new Error("listener");
    });
    setup.client.on("state", () => {
      throw new Error("state");
    });
    setup.server.last.sendRaw("{");
    await until(() => log.mock.calls.length === 1);
    expect(log.mock.calls[0]![1]).toEqual(new Error("listener"));
    off();
    expect(setup.errors).toHaveLength(1);
    setup.client.close();
    expect(setup.errors).toHaveLength(2);
  });

  it("are not called any more once taken off", async () => {
    const setup = await setUp();
    const states: string[] = [];
    const off = setup.client.on("state", ({ state }) => states.push(state));
    await connected(setup);
    off();
    setup.client.close();
    expect(states).toEqual(["connected"]);
  });
});
