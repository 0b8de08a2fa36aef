import { describe, expect, it } from "vitest";
import {
  succeed,
  type Answer,
  type FakeConnection,
  type ReceivedCommand,
} from "../../support/fake-server.js";
import { connected, retriesOf, setUp, until } from "./harness.js";

/** A server whose clock is an hour behind, or this machine's is an hour ahead. */
function expiring(seconds: number) {
  return (command: ReceivedCommand, connection: FakeConnection): Answer => {
    const answer = succeed(command, connection);
    if (command.action !== "connect" && command.action !== "refresh") return answer;
    const expiresAt = Math.floor(Date.now() / 1000) - 3600 + seconds;
    return { ...answer, expiresAt, expiresInMs: seconds * 1000 };
  };
}

/** No heartbeat of its own, so that time can be moved in one step. */
const patient = { heartbeat: { intervalMs: 1e9, timeoutMs: 1e9 } };

function tokens(): { token: () => string; given: string[] } {
  const given: string[] = [];
  return {
    given,
    token: () => {
      given.push(`token${given.length + 1}`);
      return given.at(-1)!;
    },
  };
}

describe("a token", () => {
  it("is sent with connect, and with every later one", async () => {
    const setup = await setUp({ token: "abc" }, { welcome: { authenticate: true } });
    await connected(setup);
    expect(setup.server.last.commands).toEqual([{ action: "connect", id: 1, token: "abc" }]);
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1000);
    await connected(setup);
    expect(setup.server.last.commands[0]).toEqual({
      action: "connect",
      id: 2,
      token: "abc",
      resume: "s1.secret",
    });
  });

  it("is fetched afresh for every connection", async () => {
    const { token, given } = tokens();
    const setup = await setUp({ token: () => Promise.resolve(token()) });
    await connected(setup);
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1000);
    await connected(setup);
    expect(given).toEqual(["token1", "token2"]);
    expect(setup.server.last.commands[0]).toMatchObject({ token: "token2" });
  });

  it.each(["token_invalid", "token_expired"])(
    "that is a string ends the client when refused as %s",
    async (code) => {
      const setup = await setUp(
        { token: "abc" },
        { respond: () => ({ code, message: "no", temporary: false }) },
      );
      await until(() => setup.client.state === "closed");
      expect(setup.changes).toEqual([{ state: "closed", reason: { code, message: "no" } }]);
    },
  );

  it("that had expired is replaced by a fresh one, with backoff", async () => {
    const { token } = tokens();
    const setup = await setUp(
      { token },
      {
        respond: (command, connection) =>
          command["token"] === "token1"
            ? { code: "token_expired", message: "old", temporary: false }
            : succeed(command, connection),
      },
    );
    await until(() => setup.client.state === "waiting");
    expect(retriesOf(setup.changes)).toEqual([1000]);
    setup.clock.advance(1000);
    await connected(setup);
  });

  it("whose time has not come is shown again, or another is, no sooner than the server says", async () => {
    let refusals = 2;
    const { token, given } = tokens();
    const setup = await setUp(
      { token },
      {
        respond: (command, connection) =>
          refusals-- > 0
            ? { code: "token_not_active", message: "nbf", temporary: true, retryAfterMs: 3000 }
            : succeed(command, connection),
      },
    );
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(4000);
    await until(() => retriesOf(setup.changes).length === 2);
    setup.clock.advance(5000);
    await connected(setup);
    expect(retriesOf(setup.changes)).toEqual([4000, 5000]);
    expect(given).toEqual(["token1", "token2", "token3"]);
  });

  it("that ran out on an open connection is replaced by a fresh one, where one can be had", async () => {
    const renewable = await setUp({ token: tokens().token });
    await connected(renewable);
    renewable.server.last.closing(4002);
    await until(() => renewable.client.state === "waiting");
    const fixed = await setUp({ token: "abc" });
    await connected(fixed);
    fixed.server.last.closing(4002);
    await until(() => fixed.client.state === "closed");
    expect(fixed.changes.at(-1)).toMatchObject({ reason: { code: 4002 } });
  });

  it("that will never be there again ends the client", async () => {
    const reason = { code: "unauthorized", message: "the token callback gave null: there is no token" };
    const before = await setUp({ token: () => Promise.resolve(null) });
    await until(() => before.client.state === "closed");
    expect(before.changes).toEqual([{ state: "closed", reason }]);
    expect([before.clock.pending, before.errors, before.server.connections]).toEqual([0, [], []]);
    let calls = 0;
    const open = await setUp(
      { token: () => (++calls === 1 ? "abc" : null) },
      { welcome: patient, respond: expiring(100) },
    );
    await connected(open);
    open.clock.advance(90_000);
    await until(() => open.client.state === "closed");
    expect(open.changes.at(-1)).toEqual({ state: "closed", reason });
    await until(() => open.server.last.closedWith === 1000);
  });

  it("that cannot be fetched is tried for again with backoff", async () => {
    let failures = 2;
    const token = () => (failures-- > 0 ? Promise.reject(new Error("no network")) : "abc");
    const setup = await setUp({ token });
    await until(() => setup.client.state === "waiting");
    expect(setup.errors[0]).toMatchObject({
      code: "token_unavailable",
      temporary: true,
      message: "the token callback failed: no network",
    });
    setup.clock.advance(1000);
    await until(() => setup.errors.length === 2);
    setup.clock.advance(2000);
    await connected(setup);
    expect(retriesOf(setup.changes)).toEqual([1000, 2000]);
  });

  it("whose callback never settles, or gives no string, counts as not to be had", async () => {
    const never = await setUp({ token: () => new Promise<string>(() => undefined) });
    never.clock.advance(10_000);
    await until(() => never.client.state === "waiting");
    expect(never.errors[0]!.message).toContain("no token within 10000 ms");
    const wrong = await setUp({ token: () => undefined as never });
    await until(() => wrong.client.state === "waiting");
    expect(wrong.errors[0]!.message).toContain("undefined, not a string");
  });

  it("that arrives after close() opens nothing", async () => {
    let give = (_token: string): void => undefined;
    const setup = await setUp({ token: () => new Promise<string>((resolve) => (give = resolve)) });
    setup.client.close();
    give("abc");
    await new Promise((resolve) => setImmediate(resolve));
    expect(setup.client.state).toBe("closed");
    expect(setup.clock.pending).toBe(0);
    expect(setup.server.connections).toEqual([]);
  });

  it("is not asked for where an attempt is told, and closed at once", async () => {
    let calls = 0;
    const setup = await setUp({ token: () => `t${++calls}` });
    await connected(setup);
    setup.client.on("state", ({ state }) => state === "connecting" && setup.client.close());
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1_000);
    expect([setup.client.state, calls, setup.clock.pending]).toEqual(["closed", 1, 0]);
  });

  it("is not waited for once the client is closed", async () => {
    const { client, clock, errors } = await setUp({ token: () => new Promise<string>(() => undefined) });
    expect(clock.pending).toBe(1);
    client.close();
    expect([clock.pending, errors]).toEqual([0, []]);
  });

  it("that cannot be fetched is not told of once the client is closed", async () => {
    const { client, errors } = await setUp({ token: () => Promise.reject(new Error("503")) });
    client.on("state", ({ state }) => state === "waiting" && client.close());
    await until(() => client.state === "closed");
    await new Promise((resolve) => setImmediate(resolve));
    expect(errors).toEqual([]);
  });
});

describe("refreshing a token", () => {
  it("happens at nine tenths of its life, again and again", async () => {
    const setup = await setUp({ token: tokens().token }, { welcome: patient, respond: expiring(100) });
    await connected(setup);
    setup.clock.advance(89_999);
    await setup.client.ping();
    expect(setup.server.last.actions("refresh")).toEqual([]);
    setup.clock.advance(1);
    await until(() => setup.server.last.actions("refresh").length === 1);
    expect(setup.server.last.actions("refresh")[0]).toMatchObject({ token: "token2" });
    await setup.client.ping();
    setup.clock.advance(89_999);
    await setup.client.ping();
    expect(setup.server.last.actions("refresh")).toHaveLength(1);
    setup.clock.advance(1);
    await until(() => setup.server.last.actions("refresh").length === 2);
    expect(setup.changes.map(({ state }) => state)).toEqual(["connected"]);
  });

  it("waits at least five seconds, however short the life", async () => {
    const setup = await setUp({ token: tokens().token }, { respond: expiring(1) });
    await connected(setup);
    setup.clock.advance(4_999);
    await setup.client.ping();
    expect(setup.server.last.actions("refresh")).toEqual([]);
    setup.clock.advance(1);
    await until(() => setup.server.last.actions("refresh").length === 1);
  });

  it("does not happen for a string", async () => {
    const setup = await setUp({ token: "abc" }, { welcome: patient, respond: expiring(100) });
    await connected(setup);
    setup.clock.advance(120_000);
    await setup.client.ping();
    expect(setup.server.last.actions("refresh")).toEqual([]);
  });

  it("is tried again where the callback gave a token that had expired", async () => {
    const answers = expiring(100);
    const setup = await setUp(
      { token: tokens().token },
      {
        welcome: patient,
        respond: (command, connection) =>
          command["token"] === "token2"
            ? { code: "token_expired", message: "cached", temporary: false }
            : answers(command, connection),
      },
    );
    await connected(setup);
    setup.clock.advance(90_000);
    await until(() => setup.errors.length === 1);
    setup.clock.advance(5_000);
    await until(() => setup.server.last.actions("refresh").length === 2);
    expect(setup.server.last.actions("refresh")[1]).toMatchObject({ token: "token3" });
    await setup.client.ping();
    expect(setup.errors).toHaveLength(1);
  });

  it("is tried again after a temporary failure, of the callback or the server", async () => {
    let calls = 0;
    const token = () => {
      if (++calls === 2) throw new Error("no network");
      return `token${calls}`;
    };
    const answers = expiring(30);
    let refusals = 1;
    const setup = await setUp(
      { token },
      {
        welcome: patient,
        respond: (command, connection) =>
          command.action === "refresh" && refusals-- > 0
            ? { code: "unavailable", message: "bus", temporary: true }
            : answers(command, connection),
      },
    );
    await connected(setup);
    setup.clock.advance(27_000);
    await until(() => setup.errors.length === 1);
    expect(setup.errors[0]).toMatchObject({ code: "token_unavailable" });
    setup.clock.advance(5_000);
    await until(() => setup.errors.length === 2);
    expect(setup.errors[1]).toMatchObject({ code: "unavailable" });
    setup.clock.advance(10_000);
    await until(() => setup.server.last.actions("refresh").length === 2);
    expect(setup.server.last.actions("refresh").map((command) => command["token"])).toEqual([
      "token3",
      "token4",
    ]);
    expect(setup.client.state).toBe("connected");
  });

  it("is reported and left at that where the server refuses the fresh token", async () => {
    const answers = expiring(100);
    const setup = await setUp(
      { token: tokens().token },
      {
        welcome: patient,
        respond: (command, connection) =>
          command.action === "refresh"
            ? { code: "token_invalid", message: "whose?", temporary: false }
            : answers(command, connection),
      },
    );
    await connected(setup);
    setup.clock.advance(90_000);
    await until(() => setup.errors.length === 1);
    expect(setup.errors[0]).toMatchObject({ code: "token_invalid" });
    expect(setup.client.state).toBe("connected");
  });

  it("is over with the connection", async () => {
    const setup = await setUp({ token: tokens().token }, { respond: expiring(100) });
    await connected(setup);
    setup.client.close();
    expect(setup.clock.pending).toBe(0);
  });

  it("that was begun on a connection that is gone is let go", async () => {
    let give: (token: string) => void = () => undefined;
    let calls = 0;
    const token = () => (++calls === 2 ? new Promise<string>((resolve) => (give = resolve)) : `t${calls}`);
    const setup = await setUp({ token }, { welcome: patient, respond: expiring(100) });
    await connected(setup);
    setup.clock.advance(90_000);
    await until(() => calls === 2);
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1_000);
    await connected(setup);
    give("stale");
    await setup.client.ping();
    expect(setup.server.last.actions("refresh")).toEqual([]);
  });
});
