import { describe, expect, it } from "vitest";

import { MemberInfoError, checkMemberInfo, encodeMemberInfo } from "../../../src/core/member-info.js";

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

describe("a member's info", () => {
  it("is compact JSON in one line, and nothing where it is null", () => {
    expect(encodeMemberInfo({ text: "a\n\rb", list: [1, null] })).toBe('{"text":"a\\n\\rb","list":[1,null]}');
    expect(encodeMemberInfo(JSON.parse('{"__proto__":1}'))).toBe('{"__proto__":1}');
    expect([encodeMemberInfo(null), encodeMemberInfo(undefined)]).toEqual([undefined, undefined]);
  });

  it("is refused where it is too large, with its size and the limit, or nests too deep", () => {
    expect(() => encodeMemberInfo("x".repeat(1_023))).toThrow(
      new MemberInfoError("has 1025 bytes as compact JSON, at most 1024 are allowed"),
    );
    expect(encodeMemberInfo(nested(64))).toHaveLength(129);
    for (const levels of [65, 100_000])
      expect(() => encodeMemberInfo(nested(levels))).toThrow(MemberInfoError);
  });

  it.each([
    ["", "is no JSON: expected a JSON value, found the end at byte 0"],
    [" 1", "is no JSON"],
    ["1 ", "has more than one JSON value, at byte 1"],
    ["1,2", "has more than one JSON value, at byte 1"],
    ["[1,\n2]", "has a line end: one line is expected"],
    ["[1,\r2]", "has a line end: one line is expected"],
    ['"\ud800"', "has a lone surrogate at 1: it has no UTF-8"],
    ['"\u0001"', "is no JSON: control character 0x01"],
    ["null", "is null: leave it out"],
    ["undefined", "is no JSON"],
    ["{a:1}", "is no JSON"],
    ["[".repeat(1_000), "nest deeper than 64 levels"],
    [`"${"x".repeat(2_000)}"`, "has 2002 bytes as compact JSON, at most 1024 are allowed"],
  ])("that was written elsewhere is refused where it is none: %j", (info, message) => {
    expect(() => checkMemberInfo(info)).toThrow(MemberInfoError);
    expect(() => checkMemberInfo(info)).toThrow(message);
  });
});
