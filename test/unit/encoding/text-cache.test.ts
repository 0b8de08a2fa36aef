import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { shortTextAt } from "../../../src/encoding/text-cache.js";

describe("shortTextAt", () => {
  it("gives what the bytes say, whatever texts came before", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme", maxLength: 70 }), { maxLength: 20 }), (texts) => {
        for (const text of [...texts, ...texts]) {
          const bytes = Buffer.from(`.${text}.`);
          expect(shortTextAt(bytes, 1, bytes.length - 1)).toBe(text);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("does not take the bytes of one text for the characters of another", () => {
    for (let i = 0; i < 5000; i++) {
      const text = `é${i}`;
      const bytes = Buffer.from(text);
      const lookalike = Buffer.from(bytes.toString("latin1"));
      shortTextAt(lookalike, 0, lookalike.length);
      expect(shortTextAt(bytes, 0, bytes.length)).toBe(text);
    }
  });

  it("hands out the string it handed out before", () => {
    // Object.is cannot tell strings apart; a text that was kept costs no decoding.
    const bytes = Buffer.from("room-1");
    shortTextAt(bytes, 0, bytes.length);
    const silent = new Proxy(bytes, {
      get(target, key) {
        if (key === "buffer") throw new Error("decoded again");
        return Reflect.get(target, key) as unknown;
      },
    });
    expect(shortTextAt(silent, 0, bytes.length)).toBe("room-1");
  });
});
