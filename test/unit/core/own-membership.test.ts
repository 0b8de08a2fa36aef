/** Who becomes a member, and who is told that a user joined or left where the user's own connections hear the channel. */

import { afterEach, expect, it } from "vitest";
import { DEFAULT_RULES } from "../../../src/core/channel-rules.js";
import type { Protocol } from "../../../src/core/protocol.js";
import { GRANT_BY_IDENTITY } from "../../../src/core/grant.js";
import { FRAMINGS } from "../../../src/protocols/starling/framing.js";
import { starlingProtocol } from "../../../src/protocols/starling/protocol.js";
import { noPresence, startEdge, type FakeSocket, type TestEdge } from "./harness.js";

const RULES = { ...DEFAULT_RULES, presence: true, joinLeave: true };

/** As the native one, but that it tells nobody of itself. */
const framing = { ...FRAMINGS[0]!, topicPrefix: "shy", tellsUserOfItself: false };
const shyProtocol: Protocol = {
  ...starlingProtocol,
  name: "shy",
  framings: [framing],
  admit(upgrade, apps) {
    const offer = upgrade.path === "/shy" ? starlingProtocol.admit(upgrade, apps) : undefined;
    return offer !== undefined && "framing" in offer ? { ...offer, framing } : offer;
  },
};

let test: TestEdge;
afterEach(() => test.stop());

it("leaves out the user's own connections, several too, where their protocol tells nobody of itself", async () => {
  const own: string[] = [];
  const presence = { ...noPresence, connectionsHere: () => own };
  test = await startEdge({ protocols: [shyProtocol, starlingProtocol], rulesOf: () => RULES, presence });
  const connect = (path: string) => {
    const socket = test.connect({ path });
    socket.type({ action: "subscribe", channel: "room" });
    return socket;
  };
  const [one, two, native] = [connect("/shy"), connect("/shy"), connect("/")];
  const [other, otherNative] = [connect("/shy"), connect("/")];
  const [elsewhere, gone] = [test.connect({ path: "/shy" }), connect("/shy")];
  own.push(...[one, two, native, elsewhere, gone].map(({ handler }) => handler.id));
  gone.leave(1005);
  const member = { connection: one.handler.id, user: "ann" };
  for (const kind of ["leave", "join"] as const) {
    test.edge.hub.members.event({ key: "main/room", kind, member });
  }
  const told = (socket: FakeSocket): string[] =>
    socket.received.map(({ type }) => type).filter((type) => type === "join" || type === "leave");
  for (const socket of [one, two, elsewhere]) expect(told(socket)).toEqual([]);
  for (const socket of [native, other, otherNative]) expect(told(socket)).toEqual(["leave", "join"]);
  // They hear what comes next.
  test.edge.hub.members.event({ key: "main/room", kind: "join", member: { connection: "x.1", user: null } });
  expect(told(one)).toEqual(["join"]);
  test.broker.deliver({ key: "main/room", text: "hi" });
  expect(two.of("message")).toHaveLength(1);
});

it("charges who is refused by a full channel for what it costs to find that out", async () => {
  const presence = { ...noPresence, enter: () => Promise.resolve(false) };
  test = await startEdge({ rulesOf: () => RULES, presence });
  const { handler } = test.connect();
  handler.message(Buffer.from('{"action":"ping"}'), false);
  const before = handler.rateMilliMessages;
  const joining = test.edge.hub.join(handler, "room", {
    grant: GRANT_BY_IDENTITY,
    members: { limit: 1000, usersMost: 100, by: "a test" },
    answer: () => undefined,
  });
  await expect(joining).rejects.toMatchObject({ code: "channel_limit" });
  expect(before - handler.rateMilliMessages).toBe(25_000);
});
