import { describe, expect, it } from "vitest";
import { succeed } from "../../support/fake-server.js";
import { connected, retriesOf, setUp, until, type Setup } from "./harness.js";

async function loseAndReturn(setup: Setup): Promise<void> {
  setup.server.last.terminate();
  await until(() => setup.client.state === "waiting");
  setup.clock.advance(retriesOf(setup.changes).at(-1)!);
  await connected(setup);
}

function resuming(channels: string[]) {
  return (command: Parameters<typeof succeed>[0], connection: Parameters<typeof succeed>[1]) =>
    command.action === "connect"
      ? { session: "s1", resume: `s1.renewed${connection.number}`, resumed: true, channels, user: "42" }
      : succeed(command, connection);
}

describe("the session", () => {
  it("is resumed with the newest token that the server gave", async () => {
    const setup = await setUp({}, { respond: resuming([]) });
    await connected(setup);
    await loseAndReturn(setup);
    expect(setup.server.last.commands).toEqual([{ action: "connect", id: 1, resume: "s1.secret" }]);
    expect(setup.client.connection).toEqual({
      node: "fake",
      connection: "c2",
      session: "s1",
      resumed: true,
      user: "42",
    });
    await loseAndReturn(setup);
    expect(setup.server.last.commands[0]).toMatchObject({ action: "connect", resume: "s1.renewed2" });
    await loseAndReturn(setup);
    expect(setup.server.last.commands[0]).toMatchObject({ resume: "s1.renewed3" });
  });

  it("is another's when it was superseded: the client comes back to one of its own, from its positions", async () => {
    const position = { offset: 7, epoch: "e" };
    const setup = await setUp(
      {},
      { respond: (command, on) => (command.action === "subscribe" ? { ...position } : succeed(command, on)) },
    );
    await connected(setup);
    await setup.client.subscribe("a", () => undefined).ready;
    const before = setup.changes.length;
    setup.server.last.closing(4006);
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1000);
    await connected(setup);
    await until(() => setup.server.last.commands.length === 1);
    // No connect, which would ask for the session again.
    expect(setup.server.last.commands).toMatchObject([
      { action: "subscribe", channel: "a", since: position },
    ]);
    expect(setup.changes.slice(before)).toMatchObject([
      { state: "waiting", attempt: 1, reason: { code: 4006 } },
      { state: "connecting" },
      { state: "connected", session: "s2", resumed: false },
    ]);
    expect(setup.errors).toEqual([]);
    // Its own is resumed as any.
    setup.server.options.respond = resuming(["a"]);
    await loseAndReturn(setup);
    expect(setup.server.last.commands[0]).toMatchObject({ action: "connect", resume: "s2.secret" });
  });

  it("keeps the token where connect stayed without an answer", async () => {
    const setup = await setUp({}, { respond: (command) => (command.action === "connect" ? undefined : {}) });
    await connected(setup);
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    setup.clock.advance(1000);
    await until(() => setup.server.connections[1]?.commands.length === 1);
    setup.clock.advance(10_000);
    expect(setup.client.state).toBe("waiting");
    setup.server.options.respond = resuming([]);
    setup.clock.advance(2000);
    await connected(setup);
    expect(setup.server.last.commands[0]).toMatchObject({ resume: "s1.secret" });
  });

  it("asks only for what was not restored, all at once and in order, before what was queued", async () => {
    const setup = await setUp();
    await connected(setup);
    const names = ["a", "b", "c", "d", "e"];
    const subscriptions = names.map((name) => setup.client.subscribe(name, () => undefined));
    await Promise.all(subscriptions.map(({ ready }) => ready));

    // Nothing but connect is answered from here on: what arrives all the same was pipelined.
    const respond = resuming(["d", "b"]);
    setup.server.options.respond = (command, connection) =>
      command.action === "connect" ? respond(command, connection) : undefined;
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    void setup.client.publish("a", "queued").catch(() => undefined);
    setup.clock.advance(1000);
    await connected(setup);
    await until(() => setup.server.last.commands.length === 5);
    const asked = setup.server.last.commands.map(({ action, channel }) => `${action} ${channel as string}`);
    expect(asked).toEqual(["connect undefined", "subscribe a", "subscribe c", "subscribe e", "send a"]);
    expect(subscriptions.map(({ subscribed }) => subscribed)).toEqual([false, true, false, true, false]);
  });

  it("gives up restored channels that nobody wants any more, but not the server's own", async () => {
    const setup = await setUp();
    await connected(setup);
    const left = setup.client.subscribe("left", () => undefined);
    setup.client.subscribe("kept", () => undefined);
    await left.ready;
    setup.server.options.respond = resuming(["left", "kept", "#user:42"]);
    setup.server.last.terminate();
    await until(() => setup.client.state === "waiting");
    left.unsubscribe();
    setup.clock.advance(1000);
    await connected(setup);
    await setup.client.ping();
    expect(setup.server.last.channels("unsubscribe")).toEqual(["left"]);
    expect(setup.server.last.channels("subscribe")).toEqual([]);
  });

  it("makes every subscription again where nothing was resumed", async () => {
    const setup = await setUp();
    await connected(setup);
    const heard: unknown[] = [];
    for (const name of ["a", "b"]) setup.client.subscribe(name, ({ content }) => heard.push(content));
    await loseAndReturn(setup);
    await until(() => setup.server.last.channels("subscribe").length === 2);
    expect(setup.server.last.channels("subscribe")).toEqual(["a", "b"]);
    expect(setup.client.connection).toMatchObject({ resumed: false, session: "s2" });
    setup.server.last.send({ type: "message", channel: "b", content: "again" });
    await until(() => heard.length === 1);
    expect(heard).toEqual(["again"]);
  });

  it("asks for at most a hundred channels before the first answers came", async () => {
    const setup = await setUp({}, { respond: () => undefined });
    const subscriptions = Array.from({ length: 250 }, (_, n) =>
      setup.client.subscribe(`c${n}`, () => undefined),
    );
    await connected(setup);
    await until(() => setup.server.last.commands.length === 100);
    subscriptions[100]!.unsubscribe();
    const { last } = setup.server;
    setup.server.options.respond = succeed;
    for (const { id } of [...last.commands]) last.send({ type: "reply", id });
    await Promise.all(subscriptions.filter((_, n) => n !== 100).map(({ ready }) => ready));
    expect(last.channels("subscribe")).toEqual(
      Array.from({ length: 250 }, (_, n) => `c${n}`).filter((name) => name !== "c100"),
    );
  });

  it("is refused for good with an error that is not temporary", async () => {
    const answer = { code: "unauthorized", message: "send a token", temporary: false };
    const setup = await setUp({}, { welcome: { authenticate: true }, respond: () => answer });
    const { ready } = setup.client.subscribe("room", () => undefined);
    await until(() => setup.client.state === "closed");
    expect(setup.changes).toEqual([
      { state: "closed", reason: { code: "unauthorized", message: "send a token" } },
    ]);
    await expect(ready).rejects.toMatchObject({ code: "closed" });
  });
});
