import { describe, expect, it } from "vitest";
import { silentLog, type Log } from "../../../src/core/log.js";
import { createRefusalLog } from "../../../src/core/refusal-log.js";

function setUp(debugs: boolean) {
  const lines: unknown[] = [];
  const log: Log = { ...silentLog, debugs, debug: (...line) => void lines.push(line) };
  const clock = { nowMs: 0 };
  return { lines, clock, refused: createRefusalLog(log, () => clock.nowMs) };
}

describe("the log of refusals", () => {
  it("asks for nothing where level debug is not written", () => {
    const { lines, refused } = setUp(false);
    refused("refused", () => {
      throw new Error("asked");
    });
    expect(lines).toEqual([]);
  });

  it("writes a hundred lines at once and twenty a second, and says how many it left out", () => {
    const { lines, clock, refused } = setUp(true);
    for (let i = 0; i < 130; i++) refused(`refused ${i}`, () => ({ i }));
    expect(lines).toHaveLength(100);
    expect(lines[99]).toEqual([{ i: 99 }, "refused 99"]);
    clock.nowMs = 1000;
    for (let i = 0; i < 30; i++) refused("later", () => ({ i }));
    expect(lines).toHaveLength(120);
    expect(lines[100]).toEqual([{ i: 0, suppressed: 30 }, "later"]);
    expect(lines[101]).toEqual([{ i: 1 }, "later"]);
  });
});
