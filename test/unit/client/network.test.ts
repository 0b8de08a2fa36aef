import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import type { FakeServer, FakeServerOptions } from "../../support/fake-server.js";
import { connected, setUp, startClient, startServer, until, type Setup } from "./harness.js";

/** A page's window, document and network, as far as they tell of the network. */
let page: EventTarget;
let looked: EventTarget & { visibilityState: string };
let radio: Counting & { type: string };
let listeners = 0;

class Counting extends EventTarget {
  override addEventListener(...given: Parameters<EventTarget["addEventListener"]>): void {
    listeners++;
    super.addEventListener(...given);
  }
  override removeEventListener(...given: Parameters<EventTarget["removeEventListener"]>): void {
    listeners--;
    super.removeEventListener(...given);
  }
}

let opened = 0;

class Opening extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols);
    opened++;
  }
}

beforeEach(() => {
  vi.unstubAllGlobals();
  listeners = 0;
  page = new Counting();
  looked = Object.assign(new Counting(), { visibilityState: "visible" });
  radio = Object.assign(new Counting(), { type: "wifi" });
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  vi.stubGlobal("document", looked);
  vi.stubGlobal("navigator", { connection: radio });
});
// Not after each: clients are closed by then.
afterAll(() => vi.unstubAllGlobals());

const NEWS: [string, () => void][] = [
  ["the network is back", () => page.dispatchEvent(new Event("online"))],
  ["the page is looked at", () => looked.dispatchEvent(new Event("visibilitychange"))],
  [
    "the network changed",
    () => {
      radio.type = radio.type === "wifi" ? "cellular" : "wifi";
      radio.dispatchEvent(new Event("change"));
    },
  ],
];

/** Waits for its fifth attempt, with 16 s to go. */
async function away(): Promise<Setup> {
  const setup = await setUp({ backoff: { baseMs: 16_000 } });
  await connected(setup);
  setup.server.last.terminate();
  await until(() => setup.client.state === "waiting");
  expect(setup.changes.at(-1)).toMatchObject({ retryInMs: 16_000 });
  return setup;
}

describe("news of the network", () => {
  it.each(NEWS)("bring a waiting client back at once: %s", async (_, happen) => {
    const setup = await away();
    setup.clock.advance(600);
    happen();
    setup.clock.advance(0);
    await connected(setup);
    expect(setup.clock.nowMs).toBe(600);
  });

  it("start no attempt right behind another, and one for many", async () => {
    const setup = await away();
    for (const [, happen] of NEWS) happen();
    setup.clock.advance(499);
    expect(setup.client.state).toBe("waiting");
    setup.clock.advance(1);
    await connected(setup);
    expect(setup.server.connections).toHaveLength(2);
  });

  it("are no more than an estimate where the network is the same", async () => {
    const setup = await away();
    setup.clock.advance(600);
    radio.dispatchEvent(new Event("change"));
    setup.clock.advance(15_399);
    expect(setup.client.state).toBe("waiting");
  });

  it("are let be while the page is not seen", async () => {
    const setup = await away();
    looked.visibilityState = "hidden";
    looked.dispatchEvent(new Event("visibilitychange"));
    setup.clock.advance(15_999);
    expect(setup.client.state).toBe("waiting");
  });

  it("do not cut short the pause that the server asked for", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.server.last.closing(4007, { retryAfterMs: 5_000 });
    await until(() => setup.client.state === "waiting");
    page.dispatchEvent(new Event("online"));
    setup.clock.advance(4_999);
    expect(setup.client.state).toBe("waiting");
    setup.clock.advance(1);
    await connected(setup);
  });

  it("make the next wait a first one", async () => {
    const { client, clock, changes } = startClient("ws://127.0.0.1:1");
    for (const waitMs of [1_000, 2_000, 4_000]) {
      await until(() => client.state === "waiting");
      clock.advance(waitMs);
    }
    await until(() => client.state === "waiting");
    page.dispatchEvent(new Event("online"));
    clock.advance(500);
    await until(() => client.state === "waiting");
    expect(changes.at(-1)).toMatchObject({ retryInMs: 1_000, attempt: 1 });
  });

  it.each<[string, FakeServerOptions, (server: FakeServer) => boolean, (server: FakeServer) => void]>([
    ["while it opens", {}, () => opened === 1, () => undefined],
    [
      "before its welcome",
      { welcome: false },
      ({ connections }) => connections.length === 1,
      ({ last }) => last.welcome(),
    ],
    [
      "behind its welcome",
      { respond: () => undefined },
      ({ connections }) => connections[0]?.commands.length === 1,
      ({ last }) => last.send({ type: "reply", id: last.commands[0]!.id }),
    ],
  ])("let an attempt that is on its way go on: %s", async (_, script, isThere, goOn) => {
    opened = 0;
    const server = await startServer(script);
    const { client, changes, errors } = startClient(server.url, { WebSocket: Opening, token: "abc" });
    for (let turn = 0; turn < 20 && opened === 0; turn++) await Promise.resolve();
    await until(() => isThere(server));
    for (const [, happen] of NEWS) happen();
    goOn(server);
    await until(() => client.state === "connected");
    expect([opened, changes.map(({ state }) => state), errors]).toEqual([1, ["connected"], []]);
  });

  it.each<[string, number, () => void]>([
    ["online", 1_000, NEWS[0]![1]],
    ["a look", 5_000, NEWS[1]![1]],
    ["offline", 5_000, () => page.dispatchEvent(new Event("offline"))],
  ])("ask whether an open connection lives: %s", async (_, answerMs, happen) => {
    const setup = await setUp();
    await connected(setup);
    happen();
    await until(() => setup.server.last.actions("ping").length === 1);
    await setup.client.publish("room", 1);
    setup.clock.advance(answerMs);
    expect(setup.client.state).toBe("connected");
    setup.server.options.respond = () => undefined;
    happen();
    await until(() => setup.server.last.actions("ping").length === 2);
    // Asked again and again it waits no longer.
    setup.clock.advance(answerMs - 1);
    happen();
    expect(setup.client.state).toBe("connected");
    setup.clock.advance(1);
    expect(setup.changes.at(-1)).toMatchObject({
      state: "waiting",
      reason: { message: `no data was received for ${answerMs} ms` },
    });
  });

  it("are not listened to once the client is closed", async () => {
    const setup = await setUp();
    expect(listeners).toBe(4);
    setup.client.close();
    expect(listeners).toBe(0);
  });
});

describe("reconnect", () => {
  it("amid an attempt ends that first, and tells of no failure", async () => {
    const setup = await setUp({}, { welcome: false });
    await until(() => setup.server.connections.length === 1);
    setup.server.options.welcome = {};
    setup.client.reconnect();
    await connected(setup);
    await until(() => setup.server.connections[0]!.closedWith === 3000);
    expect(setup.errors).toEqual([]);
    expect(setup.changes[0]).toMatchObject({
      reason: { code: 1006, message: "reconnect() was called" },
    });
  });

  it("ends the waiting", async () => {
    const setup = await away();
    setup.client.reconnect();
    await connected(setup);
    expect(setup.clock.nowMs).toBe(0);
  });

  it("makes a new connection, which resumes the session, and leaves the old one", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.client.reconnect();
    await until(() => setup.server.connections.length === 2);
    await connected(setup);
    expect(setup.server.last.commands[0]).toMatchObject({ action: "connect", resume: "s1.secret" });
    await until(() => setup.server.connections[0]!.closedWith === 3000);
  });

  it("fetches a token anew, and lets go the one that is on its way", async () => {
    let give: (token: string) => void = () => undefined;
    let calls = 0;
    const token = () => (++calls === 1 ? new Promise<string>((resolve) => (give = resolve)) : `t${calls}`);
    const setup = await setUp({ token });
    await until(() => calls === 1);
    setup.client.reconnect();
    await connected(setup);
    give("late");
    await setup.client.ping();
    expect(setup.server.connections).toHaveLength(1);
    expect(setup.server.last.commands[0]).toMatchObject({ token: "t2" });
  });

  it("is refused once the client is closed", async () => {
    const { client } = await setUp();
    client.close();
    expect(() => client.reconnect()).toThrow("reconnect: the client is closed");
  });
});
