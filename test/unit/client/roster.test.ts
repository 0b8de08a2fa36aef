import { describe, expect, it } from "vitest";
import { watchPresence, type Roster } from "../../../src/client/index.js";
import { succeed, type Answer, type FakeConnection } from "../../support/fake-server.js";
import { connected, setUp, until, type Setup } from "./harness.js";

const ROOM = "chat:1";
const member = (connection: string, user?: string) => ({ connection, ...(user && { user }) });
const page = (members: object[], users = members.length) => ({
  channel: ROOM,
  members,
  connections: users,
  users,
});

async function watching(answer: (connection: FakeConnection, question: number) => Answer): Promise<Setup> {
  let questions = 0;
  const setup = await setUp(
    { backoff: { baseMs: 1 } },
    {
      respond: (command, connection) =>
        command.action === "presence" ? answer(connection, questions++) : succeed(command, connection),
    },
  );
  await connected(setup);
  return setup;
}

const join = (connection: FakeConnection, id: string, user?: string): void =>
  connection.send({ type: "join", channel: ROOM, ...member(id, user) });
const leave = (connection: FakeConnection, id: string, user?: string): void =>
  connection.send({ type: "leave", channel: ROOM, ...member(id, user) });
const names = (roster: Roster): string[] => roster.members.map(({ connection, user }) => user ?? connection);

describe("a roster", () => {
  it("begins with the answer and follows joins and leaves, a user counting once", async () => {
    const setup = await watching(() => page([member("c1", "ann"), member("c2", "ann"), member("c3")], 2));
    let changes = 0;
    const roster = watchPresence(setup.client, ROOM, () => changes++);
    expect([roster.count, roster.members]).toEqual([undefined, []]);
    await until(() => roster.count === 2);
    expect(names(roster)).toEqual(["ann", "c3"]);
    const { last } = setup.server;
    join(last, "c4", "bob");
    join(last, "c5");
    leave(last, "c9", "ann");
    leave(last, "c3");
    await setup.client.ping();
    expect(names(roster)).toEqual(["bob", "c5"]);
    expect(roster.count).toBe(2);
    expect(changes).toBe(5);
    roster.stop();
    join(last, "c6");
    await setup.client.ping();
    expect(names(roster)).toEqual(["bob", "c5"]);
    expect(setup.errors).toEqual([]);
  });

  it("loses no join or leave that comes while it asks, before the answer or right behind it", async () => {
    const setup = await watching((connection) => {
      join(connection, "c2", "bob");
      leave(connection, "c1", "ann");
      queueMicrotask(() => {
        join(connection, "c3", "cid");
        leave(connection, "c4", "dan");
      });
      return page([member("c1", "ann"), member("c4", "dan")]);
    });
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count !== undefined);
    await setup.client.ping();
    expect(names(roster).sort()).toEqual(["bob", "cid"]);
  });

  it("is replaced by a snapshot, whatever came before it", async () => {
    const setup = await watching(() => page([member("c1")]));
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count === 1);
    setup.server.last.send({ type: "presence", ...page([member("c7"), member("c8")]) });
    leave(setup.server.last, "c7");
    await setup.client.ping();
    expect(names(roster)).toEqual(["c8"]);
  });

  it("shows what members show, and what they show from then on", async () => {
    const setup = await watching((connection) => {
      connection.send({ type: "update", channel: ROOM, ...member("c1", "ann"), info: { name: "Ann 2" } });
      return page([
        { ...member("c1", "ann"), info: { name: "Ann" } },
        { ...member("c2", "ann"), info: { name: "other" } },
        { ...member("c3"), info: [1] },
      ]);
    });
    let changes = 0;
    const roster = watchPresence(setup.client, ROOM, () => changes++);
    await until(() => roster.count !== undefined);
    expect(roster.members).toEqual([
      { connection: "c1", user: "ann", info: { name: "Ann 2" } },
      { connection: "c3", info: [1] },
    ]);
    const { last } = setup.server;
    last.send({ type: "join", channel: ROOM, ...member("c4", "bob"), info: 0 });
    last.send({ type: "update", channel: ROOM, ...member("c2", "ann"), info: { name: "Ann 3" } });
    last.send({ type: "update", channel: ROOM, ...member("c3") });
    last.send({ type: "update", channel: ROOM, ...member("c9", "nobody"), info: 9 });
    await setup.client.ping();
    expect(roster.members).toEqual([
      { connection: "c2", user: "ann", info: { name: "Ann 3" } },
      { connection: "c3" },
      { connection: "c4", user: "bob", info: 0 },
    ]);
    expect(changes).toBe(5);
    last.send({ type: "presence", ...page([{ ...member("c3"), info: false }]) });
    leave(last, "c3");
    join(last, "c3");
    await setup.client.ping();
    expect(roster.members).toEqual([{ connection: "c3" }]);
  });

  it("counts those of whom it lists but some alike when they show something else", async () => {
    const setup = await watching(() => page([member("c1", "ann")], 1_500));
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count === 1_500);
    setup.server.last.send({ type: "update", channel: ROOM, ...member("c77", "unlisted"), info: 1 });
    await setup.client.ping();
    expect([roster.count, names(roster)]).toEqual([1_500, ["ann"]]);
  });

  it("asks again on each connection, and shows what was known until then", async () => {
    const setup = await watching((_, question) => page([member(`c${question}`)]));
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count === 1);
    expect(names(roster)).toEqual(["c0"]);
    setup.server.last.terminate();
    await until(() => setup.client.state !== "connected");
    expect(names(roster)).toEqual(["c0"]);
    setup.clock.advance(10_000);
    await until(() => names(roster)[0] === "c1");
  });

  it("counts those that the answer did not list", async () => {
    const setup = await watching(() => page([member("c1")], 1_500));
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count === 1_500);
    leave(setup.server.last, "c77", "unlisted");
    leave(setup.server.last, "c1");
    await setup.client.ping();
    expect([roster.count, roster.members]).toEqual([1_498, []]);
  });

  it("counts nobody twice who came or went before an answer that lists but some", async () => {
    const setup = await watching((connection) => {
      join(connection, "c2", "bob");
      leave(connection, "c3", "cid");
      queueMicrotask(() => leave(connection, "c1", "ann"));
      return page([member("c1", "ann"), member("c4", "dan")], 1_500);
    });
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count !== undefined);
    await setup.client.ping();
    expect(names(roster)).toEqual(["dan"]);
    expect(roster.count).toBe(1_499);
  });

  it("tries again what was refused for now, and knows nothing where the channel does not tell", async () => {
    const setup = await watching((_, question) =>
      question === 0
        ? { code: "unavailable", message: "no", temporary: true, retryAfterMs: 1 }
        : question === 1
          ? page([member("c1")])
          : { code: "not_enabled", message: "no", temporary: false },
    );
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count === 1);
    roster.refresh();
    await until(() => roster.count === undefined);
    expect(roster.members).toEqual([]);
  });

  it("begins at once where the channel is subscribed to already, and leaves that subscription alone", async () => {
    const setup = await watching(() => page([member("c1")]));
    const messages: unknown[] = [];
    await setup.client.subscribe(ROOM, ({ content }) => void messages.push(content)).ready;
    const roster = watchPresence(setup.client, ROOM, () => undefined);
    await until(() => roster.count === 1);
    roster.stop();
    setup.server.last.send({ type: "message", channel: ROOM, content: "hi" });
    await setup.client.ping();
    expect(messages).toEqual(["hi"]);
  });
});
