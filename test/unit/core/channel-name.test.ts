import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CHANNEL_NAME_MAX,
  checkChannelName,
  isServerChannel,
  userOfChannel,
} from "../../../src/core/channel-name.js";
import { StarlingError } from "../../../src/core/errors.js";

function refusal(name: unknown): { code: string; message: string } {
  try {
    checkChannelName(name);
  } catch (error) {
    if (error instanceof StarlingError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: "none", message: "none" };
}

describe("checkChannelName", () => {
  it.each([
    "room",
    "presence-room",
    "private-encrypted-x",
    "private-a_b=c@d,e.f;g",
    "cache-a",
    "private-cache-a",
    "#server-to-user-7",
    "#user:42",
    "#user:José",
    '#user:a "b" 用户\\😀',
    "chat:index",
    "user#42,43",
    "$private",
    "ns:a/b&c*",
    "a|b~c^d`e",
    "[x]{y}(z)<w>",
    "it's",
    "!%+?",
    "__proto__",
    "x".repeat(CHANNEL_NAME_MAX),
  ])("takes %s", (name) => {
    expect(refusal(name).code).toBe("none");
  });

  it.each([
    ["", "channel name is empty"],
    ["a b", 'channel "a b" has " " at 1: printable ASCII is allowed but for space, " and \\'],
    ['a"b', 'channel "a\\"b" has "\\"" at 1: printable ASCII is allowed but for space, " and \\'],
    ["a\\b", 'channel "a\\\\b" has "\\\\" at 1: printable ASCII is allowed but for space, " and \\'],
    ["room\n", 'channel "room\\n" has "\\n" at 4: printable ASCII is allowed but for space, " and \\'],
    ["\u0000", 'channel "\\u0000" has "\\u0000" at 0: printable ASCII is allowed but for space, " and \\'],
    ["zimmer-ä", 'channel "zimmer-ä" has "ä" at 7: printable ASCII is allowed but for space, " and \\'],
    ["a😀", 'channel "a😀" has "😀" at 1: printable ASCII is allowed but for space, " and \\'],
    ["#user:", 'the user id in channel "#user:" is empty'],
    ["#user:\t", 'the user id in channel "#user:\\t" has a control character at 0'],
    ["#user:a\udfff", 'the user id in channel "#user:a\\udfff" has a lone surrogate at 1'],
    ["#users:é", 'channel "#users:é" has "é" at 7: printable ASCII is allowed but for space, " and \\'],
    [
      "y".repeat(CHANNEL_NAME_MAX + 1),
      `channel "${"y".repeat(60)}…" has ${CHANNEL_NAME_MAX + 1} characters, at most ${CHANNEL_NAME_MAX} are allowed`,
    ],
  ])("refuses %j and says why", (name, message) => {
    expect(refusal(name)).toEqual({ code: "bad_channel", message });
  });

  it("tells a missing channel from one that is no string", () => {
    expect(refusal(undefined)).toEqual({ code: "bad_request", message: '"channel" is missing' });
    expect(refusal(null)).toEqual({ code: "bad_request", message: '"channel" must be a string, not null' });
    expect(refusal(["a"])).toEqual({ code: "bad_request", message: '"channel" must be a string, not ["a"]' });
  });

  it("takes no name that JSON would escape or that is not one byte a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 8 }), (name) => {
        if (refusal(name).code !== "none") return;
        expect(JSON.stringify(name)).toBe(`"${name}"`);
        expect(Buffer.byteLength(name)).toBe(name.length);
        expect(/\s/.test(name)).toBe(false);
      }),
      { numRuns: 600 },
    );
  });
});

describe("the server's channels", () => {
  it("start with #", () => {
    expect(isServerChannel("#user:42")).toBe(true);
    expect(isServerChannel("#server-to-user-7")).toBe(true);
    expect(isServerChannel("user#42,43")).toBe(false);
    expect(isServerChannel("")).toBe(false);
  });

  it("name a user after #user: and nothing else", () => {
    expect(userOfChannel("#user:42")).toBe("42");
    expect(userOfChannel("#user:a:b")).toBe("a:b");
    expect(userOfChannel("#user:")).toBe("");
    expect(userOfChannel("#users:42")).toBeUndefined();
    expect(userOfChannel("user:42")).toBeUndefined();
  });
});
