import fc from "fast-check";
import { expect, it } from "vitest";
import { SmallSet } from "../../../src/core/small-set.js";

it("holds what a Set would, whatever is done to it", () => {
  const step = fc.record({ add: fc.boolean(), item: fc.constantFrom("a", "b", "c") });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const small = new SmallSet<string>();
      const set = new Set<string>();
      for (const { add, item } of steps) {
        if (add) {
          small.add(item);
          set.add(item);
        } else {
          expect(small.delete(item)).toBe(set.delete(item));
        }
        expect([...small].sort()).toEqual([...set].sort());
        expect(small.size).toBe(set.size);
        for (const any of ["a", "b", "c"]) expect(small.has(any)).toBe(set.has(any));
      }
    }),
  );
});
