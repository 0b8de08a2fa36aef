import { createServer } from "node:net";
import { inspect } from "node:util";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { connect, StarlingError } from "../../../src/client/index.js";
import { connected, rejection, retriesOf, setUp, startClient, startServer, until } from "./harness.js";

afterEach(() => vi.unstubAllGlobals());

describe("connecting", () => {
  it("is connected with the welcome where nothing must be proved", async () => {
    const setup = await setUp();
    expect(setup.client.state).toBe("connecting");
    await connected(setup);
    expect(setup.server.last.commands).toEqual([]);
    expect(setup.server.last.subprotocol).toBe("starling.v1.json");
    const info = { node: "fake", connection: "c1", session: "s1", resumed: false, user: null };
    expect(setup.client.connection).toEqual(info);
    expect(setup.changes).toEqual([{ state: "connected", ...info }]);
  });

  it("sends the routing key in the query, beside what the URL has, and none where it is empty", async () => {
    const { server } = await setUp();
    startClient(`${server.url}/path?a=1`, { key: "room 1&x" });
    startClient(`${server.url}/path?a=1`, { key: "" });
    await until(() => server.connections.length === 3);
    const urls = server.connections.map(({ url }) => url);
    expect(urls.sort()).toEqual(["/", "/path?a=1", "/path?a=1&key=room+1%26x"]);
  });

  it("says what to pass where there is no global WebSocket", () => {
    vi.stubGlobal("WebSocket", undefined);
    expect(() => connect("ws://127.0.0.1:1")).toThrow("pass { WebSocket } from the ws package");
  });

  it("uses the global WebSocket where there is one", async () => {
    vi.stubGlobal("WebSocket", WebSocket);
    const setup = await setUp();
    const client = connect(setup.server.url);
    await until(() => client.state === "connected");
    client.close();
  });

  it("repeats no key of the URL, and leaves the fragment off", async () => {
    const { server } = await setUp();
    startClient(`${server.url.replace("ws:", "HTTP:")}/path?key=a&b=(c)#d`, { key: "it's (1)~" });
    await until(() => server.connections.length === 2);
    const urls = server.connections.map(({ url }) => url);
    const own = new URLSearchParams([["key", "it's (1)~"]]).toString();
    expect(urls.sort()).toEqual(["/", `/path?b=(c)&${own}`]);
  });

  it.each(["not a url", "ftp://127.0.0.1/"])("refuses the URL %s, showing it", (url) => {
    expect(() => connect(url, { WebSocket })).toThrow(url);
  });

  it.each([
    "ws://ann:secret@a b/?token=secret",
    "ann:secret@example.org/?password=secret",
    "//a b/?token=secret",
  ])("refuses the URL %s, without what is secret in it", (url) => {
    let refusal: unknown;
    try {
      connect(url, { WebSocket });
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(StarlingError);
    expect(inspect(refusal, { depth: 10 })).not.toContain("secret");
  });

  it("refuses an option that makes no sense, showing it", () => {
    expect(() => connect("ws://127.0.0.1", { WebSocket, timeoutMs: -5 })).toThrow("timeoutMs is -5");
    expect(() => connect("ws://127.0.0.1", { WebSocket, offline: { queue: NaN } })).toThrow(
      "offline.queue is NaN",
    );
  });

  it("closes for good where the WebSocket refuses its arguments, and shows no token", async () => {
    class Refusing {
      constructor() {
        throw new DOMException("not from here: ws://127.0.0.1/?token=abc.def", "SecurityError");
      }
    }
    const { changes } = startClient("ws://127.0.0.1?token=abc.def", { WebSocket: Refusing as never });
    await until(() => changes.length === 1);
    const message = "not from here: ws://127.0.0.1/?token=...";
    expect(changes).toEqual([{ state: "closed", reason: { code: "bad_request", message } }]);
  });

  it("gives up an attempt that never opens, and tries again", async () => {
    const silent = createServer();
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const { clock, changes, client } = startClient(`ws://127.0.0.1:${port}`);
    await until(() => clock.pending === 1);
    clock.advance(9_999);
    expect(changes).toEqual([]);
    clock.advance(1);
    expect(client.state).toBe("waiting");
    expect(changes[0]).toMatchObject({ retryInMs: 1000, reason: { code: "connect_failed" } });
    const failure = `could not connect to ws://127.0.0.1:${port}/: no welcome within 10000 ms`;
    expect(changes[0]).toMatchObject({ reason: { message: failure } });
    client.close();
    silent.close();
  });

  it("gives up an attempt whose welcome never comes", async () => {
    const { clock, changes, server } = await setUp({}, { welcome: false });
    await until(() => server.connections.length === 1);
    clock.advance(10_000);
    expect(retriesOf(changes)).toEqual([1000]);
    server.options.welcome = {};
    clock.advance(1000);
    await until(() => changes.at(-1)?.state === "connected");
  });
});

describe("reconnecting", () => {
  it("waits 1, 2, 4, 8, 16, 30, 30 s while nothing answers", async () => {
    const { clock, changes } = startClient("ws://127.0.0.1:1");
    for (let attempt = 1; attempt <= 7; attempt++) {
      await until(() => retriesOf(changes).length === attempt);
      clock.advance(retriesOf(changes).at(-1)!);
    }
    expect(retriesOf(changes)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    const attempts = changes.flatMap((change) => (change.state === "connecting" ? [change.attempt] : []));
    expect(attempts).toEqual([2, 3, 4, 5, 6, 7, 8]);
  });

  it("keeps counting where connections do not last, and starts again after a stable one", async () => {
    const setup = await setUp();
    for (const lastedMs of [0, 29_999, 30_000, 0]) {
      await connected(setup);
      setup.clock.advance(lastedMs);
      const before = setup.changes.length;
      setup.server.last.terminate();
      await until(() => setup.changes.length > before);
      setup.clock.advance(retriesOf(setup.changes).at(-1)!);
    }
    expect(retriesOf(setup.changes)).toEqual([1000, 2000, 1000, 2000]);
  });

  it("obeys the hint of a closing frame as the least delay", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.server.last.closing(1012, { retryAfterMs: 7000 });
    await until(() => setup.client.state === "waiting");
    expect(setup.changes.at(-1)).toEqual({
      state: "waiting",
      attempt: 1,
      retryInMs: 8000,
      reason: { code: 1012, message: "scripted" },
    });
  });

  it("comes back after the pause that a close for its rate asks for", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.server.last.closing(4007, { retryAfterMs: 5000 });
    await until(() => setup.client.state === "waiting");
    expect(retriesOf(setup.changes)).toEqual([6000]);
  });

  it("obeys the hint of an error that answers connect", async () => {
    const answer = { code: "unavailable", message: "busy", temporary: true, retryAfterMs: 4000 };
    const setup = await setUp({ token: "t" }, { respond: () => answer });
    await until(() => setup.client.state === "waiting");
    expect(retriesOf(setup.changes)).toEqual([5000]);
    await until(() => setup.server.last.closedWith === 3000);
  });

  it("does not take the hint of a later error for one about connecting", async () => {
    const answer = { code: "rate_limited", message: "slow", temporary: true, retryAfterMs: 4000 };
    const setup = await setUp({}, { respond: () => answer });
    await connected(setup);
    expect(await rejection(setup.client.publish("room", 1))).toMatchObject({ retryAfterMs: 4000 });
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    expect(retriesOf(setup.changes)).toEqual([1000]);
  });

  it.each([4500, 4502, 4999])("ends for good with close code %i", async (code) => {
    const setup = await setUp();
    await connected(setup);
    const { ready } = setup.client.subscribe("quiet", () => undefined);
    await ready;
    setup.server.last.close(code, "scripted");
    await until(() => setup.client.state === "closed");
    expect(setup.changes.at(-1)).toEqual({ state: "closed", reason: { code, message: "scripted" } });
    expect(setup.clock.pending).toBe(0);
  });

  it.each([1000, 1001, 1011, 1012, 4000, 4006, 4499, 5000 - 1001])(
    "comes back after close code %i",
    async (code) => {
      const setup = await setUp();
      await connected(setup);
      setup.server.last.close(code);
      await until(() => setup.client.state === "waiting");
    },
  );

  it("ends for good where the closing frame says so, whatever the close code", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.server.last.closing(1012, { reconnect: false });
    await until(() => setup.client.state === "closed");
  });

  it("believes a closing frame whose close was lost", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.server.last.send({
      type: "closing",
      code: 1012,
      reason: "drain",
      reconnect: true,
      retryAfterMs: 3000,
    });
    await setup.client.ping();
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    expect(setup.changes.at(-1)).toMatchObject({ retryInMs: 4000, reason: { code: 1012, message: "drain" } });
  });
});

describe("several URLs", () => {
  it("are tried in turn, the next one whenever a connection failed or ended", async () => {
    const [first, second] = [await startServer(), await startServer()];
    const { client, clock, changes } = startClient([first.url, "ws://127.0.0.1:1", new URL(second.url)]);
    await until(() => client.state === "connected");
    expect(first.connections).toHaveLength(1);
    first.last.terminate();
    await until(() => retriesOf(changes).length === 1);
    clock.advance(1000);
    await until(() => retriesOf(changes).length === 2);
    clock.advance(2000);
    await until(() => client.state === "connected");
    expect(second.last.commands[0]).toMatchObject({ action: "connect", resume: "s1.secret" });
    second.last.terminate();
    await until(() => retriesOf(changes).length === 3);
    clock.advance(4000);
    await until(() => first.connections.length === 2);
  });

  it("are refused where there is none", () => {
    expect(() => connect([], { WebSocket })).toThrow("list of URLs is empty");
    expect(() => connect(5 as unknown as string, { WebSocket })).toThrow(
      'connect: 5 is not a URL: give one such as "ws://127.0.0.1:8000"',
    );
  });
});

describe("a silent server", () => {
  it("is asked after the heartbeat's time, and left when it does not answer", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    await connected(setup);
    setup.clock.advance(39_999);
    expect(setup.client.state).toBe("connected");
    setup.clock.advance(1);
    await until(() => setup.server.last.actions("ping").length === 1);
    setup.clock.advance(9_999);
    expect(setup.client.state).toBe("connected");
    setup.clock.advance(1);
    expect(setup.client.state).toBe("waiting");
    await until(() => setup.server.last.closedWith !== undefined);
    // Not 1000: that would end the session, and the client wants it back.
    expect(setup.server.last.closedWith).not.toBe(1000);
  });

  it("is kept while it answers", async () => {
    const setup = await setUp();
    await connected(setup);
    for (let round = 1; round <= 3; round++) {
      setup.clock.advance(40_000);
      await until(() => setup.server.last.actions("ping").length === round);
      // The answer to the command that follows arrives after the probe's own.
      await setup.client.publish("room", round);
    }
    expect(setup.changes).toHaveLength(1);
  });

  it("is not asked while frames come", async () => {
    const setup = await setUp();
    await connected(setup);
    for (let round = 0; round < 5; round++) {
      setup.clock.advance(30_000);
      await setup.client.publish("room", round);
    }
    expect(setup.server.last.actions("ping")).toEqual([]);
  });
});

describe("close", () => {
  it("closes with 1000, so that the session ends, and leaves no timer", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.client.close();
    expect(setup.client.state).toBe("closed");
    await until(() => setup.server.last.closedWith === 1000);
    expect(setup.clock.pending).toBe(0);
  });

  it("ends the waiting for an attempt", async () => {
    const { client, clock, changes } = startClient("ws://127.0.0.1:1");
    await until(() => client.state === "waiting");
    client.close();
    expect(clock.pending).toBe(0);
    expect(changes.map(({ state }) => state)).toEqual(["waiting", "closed"]);
  });

  it("ends an attempt that has not opened", async () => {
    const { client, clock } = await setUp();
    await until(() => clock.pending === 1);
    client.close();
    expect(clock.pending).toBe(0);
  });

  it("refuses everything afterwards", async () => {
    const { client } = await setUp();
    client.close();
    client.close();
    expect(() => client.subscribe("room", () => undefined)).toThrow(StarlingError);
    expect(await rejection(client.publish("room", 1))).toMatchObject({ code: "closed", temporary: false });
    expect(await rejection(client.ping())).toMatchObject({ code: "closed" });
  });
});

describe("frames that make no sense", () => {
  it.each(["", "{", "null", "[]", "7", '{"type":3}', '{"type":"message","channel":"a","contentBase64":"%"}'])(
    "reports %s and goes on",
    async (frame) => {
      const setup = await setUp();
      await connected(setup);
      setup.server.last.sendRaw(frame);
      await until(() => setup.errors.length === 1);
      expect(setup.errors[0]).toMatchObject({ code: "bad_frame" });
      expect(await setup.client.publish("room", 1)).toEqual({});
    },
  );

  it("lets types be that it does not know, and answers that nobody waits for", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.server.last.send({ type: "presence", channel: "room" });
    setup.server.last.send({ type: "reply", id: 999 });
    setup.server.last.send({ type: "pong" });
    await setup.client.publish("room", 1);
    expect(setup.errors).toEqual([]);
  });

  it("reports an error that answers no command", async () => {
    const setup = await setUp();
    await connected(setup);
    setup.server.last.send({ type: "error", code: "bad_frame", message: "what?", temporary: false });
    await until(() => setup.errors.length === 1);
    expect(setup.errors[0]).toMatchObject({ code: "bad_frame", message: "what?" });
  });
});
