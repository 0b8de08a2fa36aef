import { describe, expectTypeOf, it } from "vitest";
import { WebSocket as NodeWebSocket } from "ws";
import { connect, type Client, type ConnectOptions, type Message } from "../../../src/client/index.js";

interface Chat {
  text: string;
}

interface Channels {
  lobby: Chat;
  ticks: number;
  [room: `room:${string}`]: { said: string };
}

// Only checked, never called.
const typed = (): Client<Channels> => connect<Channels>("ws://127.0.0.1");
const untyped = (): Client => connect("ws://127.0.0.1");

describe("the types of channels", () => {
  it("tie a handler's content to the channel's name", () => {
    expectTypeOf(() =>
      typed().subscribe("lobby", (message) => {
        expectTypeOf(message.content).toEqualTypeOf<Chat>();
        expectTypeOf(message.channel).toEqualTypeOf<"lobby">();
      }),
    ).toBeFunction();
    expectTypeOf(() =>
      typed().subscribe("room:1", ({ content }) => expectTypeOf(content).toEqualTypeOf<{ said: string }>()),
    ).toBeFunction();
  });

  it("tie what is published to the channel's name", () => {
    expectTypeOf(() => typed().publish("ticks", 1)).toBeFunction();
    expectTypeOf(() => typed().publish(`room:${1}`, { said: "hi" })).toBeFunction();
    // @ts-expect-error: a tick is a number
    expectTypeOf(() => typed().publish("ticks", "1")).toBeFunction();
    // @ts-expect-error: a room's content has `said`
    expectTypeOf(() => typed().publish("room:1", { text: "hi" })).toBeFunction();
    // @ts-expect-error: there is no such channel
    expectTypeOf(() => typed().publish("looby", { text: "hi" })).toBeFunction();
    // @ts-expect-error: there is no such channel
    expectTypeOf(() => typed().subscribe("looby", () => undefined)).toBeFunction();
  });

  it("are unknown where no map is given", () => {
    expectTypeOf(() =>
      untyped().subscribe("any", ({ content }) => expectTypeOf(content).toBeUnknown()),
    ).toBeFunction();
    expectTypeOf(() => untyped().publish("any", { what: "ever" })).toBeFunction();
  });

  it("can be given for one channel", () => {
    const one = () => untyped().channel<Chat>("lobby");
    expectTypeOf<ReturnType<typeof one>["publish"]>().parameter(0).toEqualTypeOf<Chat>();
    expectTypeOf(() =>
      one().subscribe((message) => expectTypeOf(message).toEqualTypeOf<Message<Chat>>()),
    ).toBeFunction();
    expectTypeOf(() => {
      const mapped = typed().channel("ticks");
      expectTypeOf<Parameters<typeof mapped.publish>[0]>().toEqualTypeOf<number>();
      return mapped;
    }).toBeFunction();
  });

  it("narrow a state change by its state", () => {
    expectTypeOf(() =>
      untyped().on("state", (change) => {
        if (change.state === "waiting") expectTypeOf(change.retryInMs).toEqualTypeOf<number>();
        if (change.state === "connected") expectTypeOf(change.resumed).toEqualTypeOf<boolean>();
        // @ts-expect-error: only a waiting client has it
        expectTypeOf(change.retryInMs).toEqualTypeOf<number>();
      }),
    ).toBeFunction();
  });

  it("take the browser's WebSocket and the ws package's", () => {
    expectTypeOf(NodeWebSocket).toExtend<ConnectOptions["WebSocket"]>();
    expectTypeOf<typeof WebSocket>().toExtend<ConnectOptions["WebSocket"]>();
  });
});
