import fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  PresenceEventsError,
  decodeEvents,
  encodeEntry,
  type PresenceEvents,
} from "../../../../src/redis/presence/presence-entries.js";

const KEY = "main/room";
const read = (text: string): PresenceEvents => decodeEvents(Buffer.from(text));
const problemOf = (bytes: Buffer): string => {
  try {
    decodeEvents(bytes);
    return "none";
  } catch (error) {
    expect(error).toBeInstanceOf(PresenceEventsError);
    return (error as Error).message;
  }
};

const JOIN = { key: KEY, kind: "join", member: { connection: "a.1", user: "ann" } } as const;
const WITH_INFO =
  '3 r e.1 7\n+main/room\n=ann\na.1\n{"name":"Ann"}\n=main/room\n-a.2\n\n\n-main/room\n=bob\na.3\n';

describe("events of presence", () => {
  it("are read as nodes of before write them, and as written where members show info", () => {
    expect(read("2 r e.1 7\n+main/room\n=ann\na.1\n-main/room\n-a.2\n")).toEqual({
      epoch: "r e.1",
      number: 7,
      events: [JOIN, { key: KEY, kind: "leave", member: { connection: "a.2", user: null } }],
    });
    expect(read(WITH_INFO)).toEqual({
      epoch: "r e.1",
      number: 7,
      events: [
        { ...JOIN, member: { connection: "a.1", user: "ann", info: '{"name":"Ann"}' } },
        { key: KEY, kind: "update", member: { connection: "a.2", user: null } },
        { key: KEY, kind: "leave", member: { connection: "a.3", user: "bob" } },
      ],
    });
  });

  it("are of entries that are the same whether the member shows info or not", () => {
    const member = { connection: "a.1", user: "ann" };
    expect(encodeEntry(KEY, { ...member, info: "1" })).toBe("main/room\n=ann\na.1");
    expect(encodeEntry(KEY, member)).toBe("main/room\n=ann\na.1");
    expect(encodeEntry(KEY, { connection: "a.1", user: null })).toBe("main/room\n-a.1\n");
  });

  it.each([
    ["4 r e 1\n+main/a\n=ann\na.1\n1", "events of an unknown version"],
    ["3 r e 1\n+main/a\n=ann\na.1", "3 lines are not 4 for each event"],
    ["2 r e 1\n+main/a\n=ann\na.1\n1", "4 lines are not 3 for each event"],
    ["3 r e 1\n+main/a\n=ann\na.1\n1\n", "5 lines are not 4 for each event"],
    ["2 r e 1\n=main/a\n=ann\na.1", "event 1: Error: an event of an unknown kind"],
    ["3 r e 1\n*main/a\n=ann\na.1\n1", "event 1: Error: an event of an unknown kind"],
    ["3 r e 1\n__proto__\n=ann\na.1\n1", "event 1: Error: an event of an unknown kind"],
    ["3 r e 1\n-main/a\n=ann\na.1\n1", "event 1: Error: a leave with info"],
    ["3 r e 1\n?main/a\n=ann\na.1\n1\n=main/a\n=ann\na.1\n{", "event 1: Error: an event of an unknown kind"],
    ["3 r e 1\n=main/a\n=ann\na.1\n{", "event 1: MemberInfoError: is no JSON"],
    ["3 r e 1\n+main/a\n=ann\na.1\n1 2", "event 1: MemberInfoError: has more than one JSON value, at byte 1"],
    ["3 r e 1\n+main/a\n=ann\na.1\nnull", "event 1: MemberInfoError: is null"],
    [
      `3 r e 1\n+main/a\n=ann\na.1\n"${"x".repeat(1_023)}"`,
      "event 1: MemberInfoError: has 1025 bytes as compact JSON, at most 1024 are allowed",
    ],
  ])("are refused where they are none: %j", (text, message) => {
    expect(problemOf(Buffer.from(text))).toContain(message);
  });

  it("do without one that cannot be read, which is told", () => {
    const bad = ["{", "1 2", "null", `"${"x".repeat(1_023)}"`];
    for (const info of bad) {
      const told = read(
        `3 r e.1 7\n+main/room\n=ann\na.1\n1\n=main/room\n=x\na.2\n${info}\n-main/room\n=b\na.3\n`,
      );
      expect(told.events.map((event) => event?.kind)).toEqual(["join", undefined, "leave"]);
      expect(told.problem).toBeInstanceOf(PresenceEventsError);
      expect(told.problem!.message).toMatch(/^event 2: MemberInfoError: /);
    }
    expect(read("2 r e 1\n+main/a b\n=ann\na.1\n+main/a\n=ann\na.1").events).toMatchObject([
      undefined,
      { kind: "join" },
    ]);
  });

  it("are refused where they are no UTF-8, as another info would be read", () => {
    const bytes = Buffer.from('3 r e 1\n+main/a\n=ann\na.1\n"x"');
    bytes[bytes.length - 2] = 0xff;
    expect(problemOf(bytes)).toBe("events that are no UTF-8");
  });

  it("are read or refused with a typed error however they are cut, repeated and damaged", () => {
    const whole = Buffer.from(WITH_INFO);
    for (let end = 0; end < whole.length; end++) problemOf(whole.subarray(0, end));
    const damage = fc.record({
      at: fc.nat(whole.length - 1),
      length: fc.nat(20),
      by: fc.oneof(
        fc.uint8Array({ maxLength: 12 }),
        fc.constantFrom("\n", "\n\n", "=", "+", "null", WITH_INFO).map((text) => Buffer.from(text)),
      ),
    });
    fc.assert(
      fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), (damages) => {
        let bytes = whole;
        for (const { at, length, by } of damages) {
          bytes = Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(at + length)]);
        }
        if (problemOf(bytes) !== "none") return;
        for (const event of decodeEvents(bytes).events) {
          if (event === undefined) continue;
          const { kind, member } = event;
          expect(["join", "leave", "update"]).toContain(kind);
          if (member.info !== undefined) expect(JSON.stringify(JSON.parse(member.info))).toBeDefined();
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
