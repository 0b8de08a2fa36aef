import fc from "fast-check";
import { expect, it } from "vitest";
import * as few from "../../../src/core/few.js";

it("holds what a Set would, whatever is done to it", () => {
  const step = fc.record({ adds: fc.boolean(), item: fc.constantFrom("a", "b", "c") });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let held: few.Few<string>;
      const set = new Set<string>();
      for (const { adds, item } of steps) {
        if (adds) {
          held = few.add(held, item);
          set.add(item);
        } else {
          held = few.remove(held, item);
          set.delete(item);
        }
        expect([...few.items(held)].sort()).toEqual([...set].sort());
        expect(few.size(held)).toBe(set.size);
        expect(held === undefined).toBe(set.size === 0);
        for (const any of ["a", "b", "c"]) expect(few.has(held, any)).toBe(set.has(any));
      }
    }),
  );
});
