import fc from "fast-check";
import { expect, it } from "vitest";
import * as smallSet from "../../../src/core/small-set.js";

it("holds what a Set would, whatever is done to it", () => {
  const step = fc.record({ adds: fc.boolean(), item: fc.constantFrom("a", "b", "c") });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let held: smallSet.SmallSet<string>;
      const set = new Set<string>();
      for (const { adds, item } of steps) {
        if (adds) {
          held = smallSet.add(held, item);
          set.add(item);
        } else {
          held = smallSet.remove(held, item);
          set.delete(item);
        }
        expect([...smallSet.items(held)].sort()).toEqual([...set].sort());
        expect(smallSet.size(held)).toBe(set.size);
        expect(held === undefined).toBe(set.size === 0);
        for (const any of ["a", "b", "c"]) expect(smallSet.has(held, any)).toBe(set.has(any));
      }
    }),
  );
});
