import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fieldSpan, itemStarts, spanAt } from "../../../src/encoding/json-spans.js";

const bytesOf = (text: string) => new TextEncoder().encode(text);

function cut(text: string, name: string): string | undefined {
  const bytes = bytesOf(text);
  const span = fieldSpan(bytes, 0, name);
  return span && new TextDecoder().decode(bytes.subarray(span.start, span.end));
}

/** JSON as people and libraries write it: with and without space. */
const spaced = fc
  .tuple(fc.jsonValue(), fc.constantFrom(undefined, 1, "\t", "\r\n  "))
  .map(([value, indent]) => ({ value, text: JSON.stringify(value, undefined, indent as string) }));

describe("JSON spans", () => {
  it("cuts a field's value out of any object, as JSON.parse sees it", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), spaced, fc.string(), (fields, content, key) => {
        const before = JSON.stringify(fields).slice(1, -1);
        const text = ` {${before}${before === "" ? "" : " ,"} ${JSON.stringify(key)} :\n${content.text} } `;
        expect(JSON.stringify(JSON.parse(cut(text, key)!))).toBe(JSON.stringify(content.value));
        expect(cut(text, `${key}!`)).toBe(
          Object.hasOwn(fields, `${key}!`) ? JSON.stringify(fields[`${key}!`]) : undefined,
        );
      }),
    );
  });

  it("takes the last of equal keys, and keys that are spelled with escapes", () => {
    expect(cut('{"content":1,"content":[2, 3],"x":"content"}', "content")).toBe("[2, 3]");
    expect(cut('{"\\u0063ontent":"a\\"b\\\\"}', "content")).toBe('"a\\"b\\\\"');
    const escaped = fc.string({ unit: "binary" }).map((key) => {
      const units = Array.from({ length: key.length }, (_, at) => key.charCodeAt(at));
      const text = units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
      return { key, text };
    });
    fc.assert(
      fc.property(escaped, ({ key, text }) => {
        expect(cut(`{"${text}":7}`, key)).toBe("7");
        for (const other of [`${text}a`, text.slice(6), `b${text}`])
          expect(cut(`{"${other}":7}`, key)).toBe(JSON.parse(`"${other}"`) === key ? "7" : undefined);
      }),
    );
    const short = '\\"\\\\\\/\\b\\f\\n\\r\\t';
    expect(cut(`{"${short}":1,"x":2}`, JSON.parse(`"${short}"`) as string)).toBe("1");
  });

  it("finds the start of every item of any array", () => {
    fc.assert(
      fc.property(fc.array(spaced), (items) => {
        const bytes = bytesOf(`[ ${items.map(({ text }) => text).join(" ,\n")} ]`);
        const found = itemStarts(bytes, 0).map((start) => {
          const span = spanAt(bytes, start);
          return new TextDecoder().decode(bytes.subarray(span.start, span.end));
        });
        expect(found).toEqual(items.map(({ text }) => text));
      }),
    );
  });

  it("tells how deep a value nests, without recursion", () => {
    const depthOf = (text: string) => spanAt(bytesOf(text), 0).depth;
    expect([depthOf("5"), depthOf('"[["'), depthOf("[]"), depthOf('{"a":[{}],"b":[]}')]).toEqual([
      0, 0, 1, 3,
    ]);
    expect(depthOf("[".repeat(100_000) + "]".repeat(100_000))).toBe(100_000);
  });
});
