import { describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { connect } from "../../../src/client/index.js";
import { connected, rejection, setUp, startClient, until } from "./harness.js";

/** As who writes no types calls it. */
const untyped = connect as (...given: unknown[]) => unknown;

describe("wrong arguments are told by name", () => {
  it.each<[unknown[], string]>([
    [[8000], 'connect: 8000 is not a URL: give one such as "ws://127.0.0.1:8000"'],
    [[], "connect: undefined is not a URL"],
    [[{}], "connect: an object is not a URL"],
    [["ws://x", { tokn: "t" }], 'connect: unknown option "tokn"; options: token, codec,'],
    [["ws://x", { backoff: { base: 1 } }], 'unknown option "backoff.base"; options: backoff.baseMs,'],
    [["ws://x", { offline: 5 }], "connect: the options are 5: give an object"],
    [["ws://x", null], "connect: the options are null: give an object"],
    [["ws://x", { token: 5 }], 'option "token" is 5: give a string, or a function that gives one'],
    [["ws://x", { codec: "json" }], 'option "codec" is "json": give json or msgpack'],
    [["ws://x", { WebSocket: {} }], 'option "WebSocket" is a object: give a WebSocket class'],
  ])("connect(%j)", (given, message) => {
    const [url, options] = given as [unknown, object | undefined];
    const all = options === null || options === undefined ? options : { WebSocket, ...options };
    expect(() => untyped(url, all === undefined ? { WebSocket } : all)).toThrow(message);
  });

  it("subscribe, on and publish", async () => {
    const { client } = await setUp();
    const loose = client as unknown as Record<string, (...given: unknown[]) => unknown>;
    expect(() => loose["subscribe"]!("x")).toThrow(
      'subscribe to "x": the handler is undefined: give a function',
    );
    expect(() => loose["subscribe"]!(5, () => 1)).toThrow("subscribe: the channel is 5: give its name");
    expect(() => loose["subscribe"]!("x", () => 1, { onJoined: () => 1 })).toThrow(
      'subscribe to "x": unknown option "onJoined"; options: since, onSubscribed,',
    );
    expect(() => loose["subscribe"]!("x", () => 1, { onJoin: 1 })).toThrow("onJoin is 1: give a function");
    expect(() => loose["on"]!("mesage", () => 1)).toThrow(
      'on: unknown event "mesage"; events: state, error, unsubscribed, gap, message',
    );
    expect(() => loose["on"]!("state")).toThrow('on("state"): the listener is undefined: give a function');
    expect(await rejection(client.publish("x", 1, { ech: false } as object))).toMatchObject({
      code: "bad_request",
      message: 'publish to "x": unknown option "ech"; options: event, tags, echo, messageId, timeoutMs',
    });
    expect(await rejection(client.history(undefined as unknown as string))).toMatchObject({
      message: "history: the channel is undefined: give its name, a string",
    });
  });
});

describe("debug", () => {
  it("tells the console states and frames, and no secret", async () => {
    const print = vi.spyOn(console, "debug").mockImplementation(() => undefined);
    const setup = await setUp({ debug: true, token: "secret" });
    await connected(setup);
    await setup.client.publish("room", 1);
    const text = print.mock.calls
      .map((call) => call.map((part) => JSON.stringify(part)).join(" "))
      .join("\n");
    print.mockRestore();
    expect(text).toContain('"<-" "welcome"');
    expect(text).toContain('"connected" {"state":"connected","node":"fake"');
    expect(text).toContain('"->" "publish to \\"room\\""');
    expect(text).not.toContain("secret");
  });

  it("is off unless asked for", async () => {
    const print = vi.spyOn(console, "debug").mockImplementation(() => undefined);
    await connected(await setUp());
    expect(print).not.toHaveBeenCalled();
    print.mockRestore();
  });
});

it("waits whole milliseconds", async () => {
  const { changes } = startClient("ws://127.0.0.1:1", { random: () => 0.123456 });
  await until(() => changes.length === 1);
  expect(changes[0]).toMatchObject({ state: "waiting", retryInMs: 123 });
});
