import { describe, expect, it } from "vitest";
import { msgpack } from "../../../src/client/codec-msgpack.js";
import type { Presence, PresenceChange } from "../../../src/client/index.js";
import { succeed, type Answer } from "../../support/fake-server.js";
import { connected, rejection, setUp, startClient, type Setup } from "./harness.js";

async function answering(action: string, answer: Answer, options = {}): Promise<Setup> {
  const setup = await setUp(options, {
    respond: (command, connection) => (command.action === action ? answer : succeed(command, connection)),
  });
  await connected(setup);
  return setup;
}

describe("history", () => {
  it.each([undefined, msgpack])("gives what the channel keeps, and where it stands", async (codec) => {
    const from = { connection: "c9", user: "42" };
    const setup = await answering(
      "history",
      {
        channel: "chat:1",
        publications: [
          { content: { a: 1 }, offset: 1, epoch: "e", from, event: "said", tags: { lang: "en" } },
          { contentBase64: "AAEC", offset: 2, epoch: "e" },
        ],
        offset: 2,
        epoch: "e",
        more: true,
      },
      codec === undefined ? {} : { codec },
    );
    const since = { offset: 0, epoch: "e" };
    expect(await setup.client.history("chat:1", { since, limit: 10, reverse: true })).toEqual({
      publications: [
        {
          channel: "chat:1",
          content: { a: 1 },
          offset: 1,
          epoch: "e",
          from,
          event: "said",
          tags: { lang: "en" },
        },
        { channel: "chat:1", content: Uint8Array.of(0, 1, 2), offset: 2, epoch: "e" },
      ],
      offset: 2,
      epoch: "e",
      more: true,
    });
    const asked = { action: "history", channel: "chat:1", since, limit: 10, reverse: true };
    expect(setup.server.last.commands).toEqual([{ id: 1, ...asked }]);
  });

  it("asks for nothing more than it was told to", async () => {
    const setup = await answering("history", { publications: [], offset: 0, epoch: "e" });
    expect(await setup.client.channel<number>("chat:1").history()).toEqual({
      publications: [],
      offset: 0,
      epoch: "e",
      more: false,
    });
    expect(setup.server.last.commands).toEqual([{ action: "history", id: 1, channel: "chat:1" }]);
  });

  it("rejects where the channel keeps none, and where the client is closed", async () => {
    const setup = await answering("history", { code: "not_enabled", message: "no", temporary: false });
    expect(await rejection(setup.client.history("room"))).toMatchObject({ code: "not_enabled" });
    setup.client.close();
    expect(await rejection(setup.client.history("room"))).toMatchObject({ code: "closed" });
  });

  it.each([
    [{ publications: [] }, "it has no position"],
    [{ publications: [{ contentBase64: "%" }], offset: 1, epoch: "e" }, 'history of "room"'],
  ])("rejects a reply that makes no sense: %j", async (answer, message) => {
    const setup = await answering("history", answer);
    const error = await rejection(setup.client.history("room"));
    expect(error).toMatchObject({ code: "bad_frame", temporary: false });
    expect(error.message).toContain(message);
  });

  it("has a deadline", async () => {
    const { client, clock } = startClient("ws://127.0.0.1:1");
    const outcome = rejection(client.history("room"));
    clock.advance(10_000);
    expect(await outcome).toMatchObject({ code: "timeout" });
    expect((await outcome).message).toContain('history of "room"');
  });
});

describe("presence", () => {
  it("tells who is there", async () => {
    const members = [
      { connection: "c1", user: "42" },
      { connection: "c2" },
      { connection: "c3", user: null },
    ];
    const setup = await answering("presence", { channel: "chat:1", members, connections: 9, users: 7 });
    expect(await setup.client.presence("chat:1")).toEqual({
      channel: "chat:1",
      members: [{ connection: "c1", user: "42" }, { connection: "c2" }, { connection: "c3" }],
      connections: 9,
      users: 7,
    });
    expect(setup.server.last.commands).toEqual([{ action: "presence", id: 1, channel: "chat:1" }]);
    await setup.client.presence("chat:1", { limit: 3 });
    expect(setup.server.last.commands[1]).toMatchObject({ action: "presence", limit: 3 });
  });

  it.each([undefined, msgpack])("tells what each shows, whatever JSON says", async (codec) => {
    const infos = [{ name: "Ann" }, [1, null], "text", 0, false, "", null, undefined];
    const members = infos.map((info, at) => ({
      connection: `c${at}`,
      ...(info === undefined ? {} : { info }),
    }));
    const answer = { channel: "chat:1", members, connections: 8, users: 8 };
    const setup = await answering("presence", answer, codec === undefined ? {} : { codec });
    const presence = await setup.client.presence("chat:1");
    expect(presence.members.map(({ info }) => info)).toEqual([...infos.slice(0, -2), undefined, undefined]);
    expect(Object.keys(presence.members.at(-1)!)).toEqual(["connection"]);
  });

  it("tells how many are there", async () => {
    const setup = await answering("presence_stats", { channel: "chat:1", connections: 9, users: 7 });
    const stats = { channel: "chat:1", connections: 9, users: 7 };
    expect(await setup.client.presenceStats("chat:1")).toEqual(stats);
    expect(setup.server.last.commands).toEqual([{ action: "presence_stats", id: 1, channel: "chat:1" }]);
  });

  it("rejects where the channel does not tell", async () => {
    const setup = await answering("presence", { code: "not_enabled", message: "no", temporary: false });
    expect(await rejection(setup.client.presence("room"))).toMatchObject({ code: "not_enabled" });
  });

  it("hands joins, leaves, updates and snapshots to the channel's subscribers who ask for them, and to no others", async () => {
    const setup = await answering("ping", {});
    const joins: PresenceChange[] = [];
    const leaves: PresenceChange[] = [];
    const updates: PresenceChange[] = [];
    const snapshots: Presence[] = [];
    const nothing = () => undefined;
    setup.client.subscribe("chat:2", nothing, { onJoin: () => expect.unreachable() });
    setup.client.subscribe("chat:1", nothing);
    await setup.client.subscribe("chat:1", nothing, {
      onJoin: (change) => void joins.push(change),
      onLeave: (change) => void leaves.push(change),
      onUpdate: (change) => void updates.push(change),
      onPresence: (presence) => void snapshots.push(presence),
    }).ready;
    const { last } = setup.server;
    last.send({ type: "join", channel: "chat:1", connection: "c1", user: "42" });
    last.send({ type: "join", channel: "chat:3", connection: "c1", user: "42" });
    last.send({ type: "leave", channel: "chat:1", connection: "c2" });
    last.send({ type: "update", channel: "chat:1", connection: "c1", user: "42", info: { a: 1 } });
    last.send({ type: "update", channel: "chat:1", connection: "c1", user: "42" });
    const snapshot = {
      channel: "chat:1",
      members: [{ connection: "c1", user: "42" }],
      connections: 1,
      users: 1,
    };
    last.send({ type: "presence", ...snapshot });
    await setup.client.ping();
    expect(joins).toEqual([{ channel: "chat:1", connection: "c1", user: "42" }]);
    expect(leaves).toEqual([{ channel: "chat:1", connection: "c2" }]);
    expect(updates).toEqual([
      { channel: "chat:1", connection: "c1", user: "42", info: { a: 1 } },
      { channel: "chat:1", connection: "c1", user: "42" },
    ]);
    expect(snapshots).toEqual([snapshot]);
    expect(setup.errors).toEqual([]);
  });

  it("reports a listener that throws, and calls the others", async () => {
    const setup = await answering("ping", {});
    const joins: string[] = [];
    setup.client.subscribe("chat:1", () => undefined, {
      onJoin: () => {
        throw new Error("mine");
      },
    });
    const onJoin = ({ connection }: PresenceChange) => void joins.push(connection);
    await setup.client.subscribe("chat:1", () => undefined, { onJoin }).ready;
    setup.server.last.send({ type: "join", channel: "chat:1", connection: "c1" });
    await setup.client.ping();
    expect(joins).toEqual(["c1"]);
    expect(setup.errors).toMatchObject([
      { code: "handler_failed", message: 'onJoin of "chat:1" failed: mine' },
    ]);
  });
});
