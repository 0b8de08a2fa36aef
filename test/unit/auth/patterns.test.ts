import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PatternList } from "../../../src/auth/patterns.js";

/** By definition: a star takes nothing, or one character and stays. */
function naive(pattern: string, text: string): boolean {
  if (pattern === "") return text === "";
  if (pattern[0] === "*") {
    return naive(pattern.slice(1), text) || (text !== "" && naive(pattern, text.slice(1)));
  }
  return text[0] === pattern[0] && naive(pattern.slice(1), text.slice(1));
}

const pattern = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 7 });
const channel = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 9 });

describe("PatternList", () => {
  it("matches as the definition of * says, for any list of patterns", () => {
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 4 }), channel, (patterns, name) => {
        expect(new PatternList(patterns).matches(name)).toBe(patterns.some((one) => naive(one, name)));
      }),
      { numRuns: 20_000 },
    );
  });

  it("matches what was built from the pattern", () => {
    const run = fc.string({ unit: fc.constantFrom("a", "b", ":"), maxLength: 5 });
    fc.assert(
      fc.property(
        fc.array(run, { minLength: 2, maxLength: 5 }),
        fc.array(run, { minLength: 4 }),
        (pieces, runs) => {
          const name = pieces.map((piece, i) => (i === 0 ? piece : runs[i - 1]! + piece)).join("");
          expect(new PatternList([pieces.join("*")]).matches(name)).toBe(true);
        },
      ),
    );
  });

  it.each([
    ["room", "room", true],
    ["room", "room2", false],
    ["chat:*", "chat:", true],
    ["chat:*", "chat", false],
    ["*:read", "news:read", true],
    ["a*b*c", "a-b-c", true],
    ["a*b*c", "ac", false],
    ["ab*ba", "aba", false],
    ["a.c", "abc", false],
    ["[a-z]", "b", false],
    ["(a+)+$", "aaaa", false],
    ["**", "anything", true],
    ["a**b", "ab", true],
  ])("%s on %s: %s", (one, name, expected) => {
    expect(new PatternList([one]).matches(name)).toBe(expected);
  });

  it("never gives a right to a server channel", () => {
    const all = new PatternList(["*", "#*", "#user:42", "*:42", "#*4*"]);
    expect(all.matches("#user:42")).toBe(false);
    expect(all.matches("user:42")).toBe(true);
  });

  it("allows nothing where the list is empty", () => {
    expect(new PatternList([]).matches("room")).toBe(false);
  });

  it("takes steps in proportion to the length, on what makes backtracking explode", () => {
    const hostile = new PatternList([`${"a*".repeat(120)}b`]);
    expect(hostile.matches("a".repeat(255))).toBe(false);
  });
});
