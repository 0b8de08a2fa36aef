import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEPTH_MAX, ScanError, skipSpace, skipValue } from "../../../src/encoding/json-scan.js";

/** Whether the scanner takes the bytes as exactly one JSON value with space around it. */
function scans(text: string): boolean {
  const bytes = Buffer.from(text);
  try {
    return skipSpace(bytes, skipValue(bytes, skipSpace(bytes, 0))) === bytes.length;
  } catch (error) {
    if (error instanceof ScanError) return false;
    throw error;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function problem(text: string): string {
  const bytes = Buffer.from(text);
  try {
    skipValue(bytes, 0);
  } catch (error) {
    if (error instanceof ScanError) return error.message;
    throw error;
  }
  return "none";
}

/** JSON text with space where space may stand, and escapes where characters may stand. */
const spacedJson = fc
  .tuple(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom("", " ", "\n\t", "  "), fc.boolean())
  .map(([value, indent, escape]) => {
    const text = JSON.stringify(value, null, indent === "" ? undefined : indent.replace(/\n\t/, "\t"));
    return escape
      ? text.replace(/[a-z](?=[a-z]*")/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`)
      : `${indent}${text}${indent}`;
  });

/** What JSON is made of, in any order. */
const jsonish = fc
  .array(
    fc.constantFrom(
      ..."{}[],:\"\\ \n\t\r-+.eE019aufltrns'/",
      "true",
      "null",
      '"a":',
      "\\u00e9",
      "\\ud800",
      "é",
      "\u0001",
      "\u007f",
      "\u2028",
      "\ufeff",
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(""));

describe("skipValue", () => {
  it("takes what JSON.parse takes: any JSON", () => {
    fc.assert(
      fc.property(spacedJson, (text) => {
        expect(parses(text)).toBe(true);
        expect(scans(text)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("takes what JSON.parse takes: JSON with one edit", () => {
    const edited = fc
      .tuple(spacedJson, fc.nat(), fc.nat(2), jsonish)
      .map(([text, at, cut, put]) => {
        const index = at % (text.length + 1);
        return text.slice(0, index) + put.slice(0, 3) + text.slice(index + cut);
      })
      .map((text) => Buffer.from(text).toString());
    fc.assert(
      fc.property(edited, (text) => {
        expect(scans(text)).toBe(parses(text));
      }),
      { numRuns: 700 },
    );
  });

  it("takes what JSON.parse takes: JSON's own characters in any order", () => {
    fc.assert(
      fc.property(jsonish, (text) => {
        const utf8 = Buffer.from(text).toString();
        expect(scans(utf8)).toBe(parses(utf8));
      }),
      { numRuns: 2500 },
    );
  });

  it("takes what JSON.parse takes: any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(scans(text)).toBe(parses(text));
      }),
      { numRuns: 600 },
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const quoted = `"${text}"`;
        expect(scans(quoted)).toBe(parses(quoted));
      }),
      { numRuns: 600 },
    );
  });

  it("takes every byte in a string, bare and behind a backslash, as JSON.parse does", () => {
    for (let code = 0; code < 0x180; code++) {
      const character = String.fromCharCode(code);
      for (const text of [
        `"${character}"`,
        `"\\${character}"`,
        `"\\u00${character}0"`,
        character,
        `[1${character}]`,
      ]) {
        expect([text, scans(text)]).toEqual([text, parses(text)]);
      }
    }
  });

  it.each([
    "0",
    "-0",
    "1.5",
    "-1.5e+10",
    "1E5",
    "1e-5",
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "+1",
    "1e",
    "1e+",
    "0x10",
    "1_0",
    "Infinity",
    "NaN",
  ])("takes the number %s only if JSON.parse does", (text) => {
    expect(scans(text)).toBe(parses(text));
  });

  it("ends where the value ends, whatever follows", () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 4 }),
        fc.constantFrom(",", "}", "]", " ", ',"a":1', "x"),
        (value, after) => {
          const text = JSON.stringify(value);
          const bytes = Buffer.from(`..${text}${after}`);
          expect(skipValue(bytes, 2)).toBe(2 + Buffer.byteLength(text));
        },
      ),
    );
  });

  it("takes DEPTH_MAX levels and refuses one more", () => {
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    expect(scans(nested(DEPTH_MAX))).toBe(true);
    expect(problem(nested(DEPTH_MAX + 1))).toBe(
      `arrays and objects nest deeper than ${DEPTH_MAX} levels at byte ${DEPTH_MAX}`,
    );
    const objects = (levels: number) => '{"a":'.repeat(levels) + "1" + "}".repeat(levels);
    expect(scans(objects(DEPTH_MAX))).toBe(true);
    expect(problem(objects(DEPTH_MAX + 1))).toContain("nest deeper than");
  });

  it("refuses a depth of 100,000 after reading only the first levels", () => {
    let read = 0;
    const bytes = new Proxy(Buffer.from("[".repeat(100_000)), {
      get(target, key) {
        if (typeof key === "string" && /^\d+$/.test(key)) read++;
        return Reflect.get(target, key) as unknown;
      },
    });
    expect(() => skipValue(bytes, 0)).toThrow(ScanError);
    expect(read).toBeLessThan(10 * DEPTH_MAX);
  });

  it.each([
    ["'a'", `expected a JSON value, found "'" at byte 0 (JSON takes double quotes only)`],
    ["“a”", 'expected a JSON value, found "“" at byte 0 (JSON takes straight double quotes (") only)'],
    ["[1,]", 'expected a JSON value, found "]" at byte 3 (no comma before it)'],
    ['{"a":1, }', 'expected a key in double quotes, found "}" at byte 8 (no comma before it)'],
    ["{a:1}", 'expected a key in double quotes, found "a" at byte 1'],
    ["{'a':1}", `expected a key in double quotes, found "'" at byte 1 (JSON takes double quotes only)`],
    ['{"a" 1}', 'expected ":", found "1" at byte 5'],
    ['{"a":}', 'expected a JSON value, found "}" at byte 5'],
    ['{"a":1 "b":2}', `expected "," or "}", found '"' at byte 7`],
    ["[1 2]", 'expected "," or "]", found "2" at byte 3'],
    ["[1", 'expected "," or "]", found the end at byte 2'],
    ["", "expected a JSON value, found the end at byte 0"],
    [
      "True",
      'expected a JSON value, found "T" at byte 0 (text goes in double quotes; only true, false and null go without)',
    ],
    ["/* a */1", 'expected a JSON value, found "/" at byte 0 (JSON has no comments)'],
    ["-x", 'expected a digit, found "x" at byte 1'],
    ["\u0000", "expected a JSON value, found byte 0x00 at byte 0"],
    ["\ufeff1", "expected a JSON value, found byte 0xef at byte 0"],
    ['"abc', "string without an end at byte 0"],
    ['"a\nb"', "control character 0x0a in a string at byte 2 (write it as \\u000a)"],
    [
      '"C:\\dir"',
      'a backslash before "d" in a string at byte 4 (JSON knows \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)',
    ],
    ['"\\u12"', "\\u without four hex digits at byte 2"],
  ])("says what is wrong with %j", (text, message) => {
    expect(problem(text)).toBe(message);
  });

  it("looks for the comma before a bracket once, however much space there is", () => {
    const text = `[1,${" ".repeat(1_000_000)}]`;
    expect(problem(text)).toContain("no comma before it");
  });
});
