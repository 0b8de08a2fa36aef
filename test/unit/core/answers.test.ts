import { expect, it } from "vitest";
import { membersWithin } from "../../../src/core/answers.js";
import type { PresenceMember } from "../../../src/core/presence.js";

const INFO = JSON.stringify("x".repeat(1_000));
const member = (connection: string, user: string | null): PresenceMember => ({
  connection,
  user,
  info: INFO,
});
const named = (members: readonly PresenceMember[], maxBytes: number): string[] =>
  membersWithin(members, maxBytes).members.map(({ connection }) => connection);

it("an answer that has no room for all names each user before anybody's second connection", () => {
  const members = [
    member("a1", "ann"),
    member("a2", "ann"),
    member("b1", "bob"),
    member("c1", null),
    member("d1", null),
  ];
  expect(named(members, 6_000)).toEqual(["a1", "a2", "b1", "c1", "d1"]);
  expect(named(members, 5_000)).toEqual(["a1", "b1", "c1", "d1"]);
  expect(named(members, 2_500)).toEqual(["a1", "b1"]);
  expect(named(members, 10)).toEqual(["a1"]);
});
