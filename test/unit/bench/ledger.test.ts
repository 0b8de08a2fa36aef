import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Ledger } from "../../../bench/load/ledger.js";

function after(sequences: readonly number[]): Ledger {
  const ledger = new Ledger(1);
  for (const sequence of sequences) ledger.accept(0, sequence);
  return ledger;
}

describe("the ledger", () => {
  it("finds nothing wrong with what came in order", () => {
    const ledger = after([0, 1, 2, 3]);
    expect([ledger.missing(0, 4), ledger.duplicated, ledger.reordered]).toEqual([0, 0, 0]);
  });

  it("counts what is missing in the middle and at the end", () => {
    expect(after([0, 3, 4]).missing(0, 7)).toBe(4);
    expect(after([]).missing(0, 7)).toBe(7);
  });

  it("tells late from twice", () => {
    const ledger = after([0, 3, 1, 1, 3, 0]);
    expect([ledger.missing(0, 4), ledger.reordered, ledger.duplicated]).toEqual([1, 1, 3]);
  });

  it("keeps its slots apart", () => {
    const ledger = new Ledger(2);
    ledger.accept(1, 0);
    expect([ledger.missing(0, 1), ledger.missing(1, 1)]).toEqual([1, 0]);
  });

  it("agrees with a plain set, whatever arrives", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 30 })), (sequences) => {
        const ledger = after(sequences);
        const unique = new Set(sequences).size;
        expect(ledger.missing(0, 31)).toBe(31 - unique);
        expect(ledger.duplicated).toBe(sequences.length - unique);
      }),
    );
  });
});
