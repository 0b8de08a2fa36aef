import { describe, expect, it } from "vitest";
import { Unauthenticated } from "../../../src/core/unauthenticated.js";

function setUp(max: number, sharePercent = 25) {
  const evicted: number[] = [];
  const waiting = new Unauthenticated<number>({ max, sharePercent, evict: (client) => evicted.push(client) });
  return { waiting, evicted };
}

describe("connections that have yet to authenticate", () => {
  it("push out the oldest when there are too many, whoever left meanwhile", () => {
    const { waiting, evicted } = setUp(3);
    for (const client of [1, 2, 3]) waiting.add(client, undefined);
    waiting.remove(2);
    for (const client of [4, 5, 6, 7]) waiting.add(client, undefined);
    expect(evicted).toEqual([1, 3, 4]);
    for (const client of [5, 6, 7]) waiting.remove(client);
    expect(waiting.size).toBe(0);
    for (const client of [8, 9, 10, 11]) waiting.add(client, undefined);
    expect(evicted).toEqual([1, 3, 4, 8]);
  });

  it("count by address only while half of the places are taken", () => {
    const { waiting } = setUp(8);
    for (let client = 0; client < 4; client++) {
      expect(waiting.scarce).toBe(false);
      waiting.add(client, undefined);
    }
    expect(waiting.scarce).toBe(true);
    expect(waiting.refusal("a")).toBeUndefined();
    waiting.add(4, "a");
    waiting.add(5, "a");
    expect(waiting.refusal("a")).toMatch(
      /unauthenticated connection limit for .* reached \(2, by sharePerIpPercent\)/,
    );
    expect(waiting.refusal("b")).toBeUndefined();
    waiting.remove(4);
    waiting.remove(4);
    expect(waiting.refusal("a")).toBeUndefined();
    waiting.remove(5);
    expect(waiting.addresses).toBe(0);
  });

  it("forget the address of one that was pushed out", () => {
    const { waiting } = setUp(2, 50);
    for (let client = 0; client < 100; client++) waiting.add(client, `address ${client}`);
    expect([waiting.size, waiting.addresses]).toEqual([2, 2]);
  });

  it("have no share at 100 percent", () => {
    const { waiting } = setUp(2, 100);
    for (const client of [1, 2]) waiting.add(client, undefined);
    expect(waiting.scarce).toBe(false);
  });
});
