import { describe, expect, it } from "vitest";

import { FORMAT, FORMAT_BEFORE, LearnedFormat, formatOf } from "../../../../src/redis/link/fleet-format.js";

const KEEP_MS = 10_000;
const OLD = JSON.stringify({ startedAt: 1, incarnation: "i", registration: 1 });
const NEW = JSON.stringify({ startedAt: 1, incarnation: "i", registration: 1, reads: FORMAT });
const LATER = JSON.stringify({ reads: FORMAT + 1, more: ["x"] });

describe("what a lease says that its node reads", () => {
  it.each([
    [NEW, FORMAT],
    [LATER, FORMAT + 1],
    [OLD, FORMAT_BEFORE],
    ["{}", FORMAT_BEFORE],
    ["null", FORMAT_BEFORE],
    ["[]", FORMAT_BEFORE],
    ["7", FORMAT_BEFORE],
    ["no JSON", FORMAT_BEFORE],
    ["", FORMAT_BEFORE],
    ['{"reads":"3"}', FORMAT_BEFORE],
    ['{"reads":3.5}', FORMAT_BEFORE],
    ['{"reads":1e999}', FORMAT_BEFORE],
    ['{"reads":-3}', FORMAT_BEFORE],
  ])("%s: %d", (lease, format) => {
    expect(formatOf(lease)).toBe(format);
  });
});

describe("what a fleet reads", () => {
  it("is the format before until the leases are known, and then the oldest of them", () => {
    const format = new LearnedFormat();
    expect(format.oldest).toBe(FORMAT_BEFORE);
    format.learn([["a", NEW]], 0, KEEP_MS);
    expect(format.oldest).toBe(FORMAT);
    format.learn(
      [
        ["a", NEW],
        ["b", OLD],
      ],
      1,
      KEEP_MS,
    );
    expect(format.oldest).toBe(FORMAT_BEFORE);
  });

  it("is never more than this node's own", () => {
    const format = new LearnedFormat();
    format.learn([["a", LATER]], 0, KEEP_MS);
    expect(format.oldest).toBe(FORMAT);
    format.learn([], 0, KEEP_MS);
    expect(format.oldest).toBe(FORMAT);
  });

  it("counts a node without a lease as what it was, and not at all one that was never seen with one", () => {
    const format = new LearnedFormat();
    format.learn(
      [
        ["a", NEW],
        ["b", NEW],
      ],
      0,
      KEEP_MS,
    );
    format.learn(
      [
        ["a", NEW],
        ["b", null],
      ],
      1,
      KEEP_MS,
    );
    expect(format.oldest).toBe(FORMAT);
    format.learn(
      [
        ["a", NEW],
        ["b", null],
        ["c", null],
      ],
      2,
      KEEP_MS,
    );
    expect(format.oldest).toBe(FORMAT);
    format.learn(
      [
        ["a", NEW],
        ["c", OLD],
      ],
      3,
      KEEP_MS,
    );
    format.learn(
      [
        ["a", NEW],
        ["c", null],
      ],
      4,
      KEEP_MS,
    );
    expect(format.oldest).toBe(FORMAT_BEFORE);
  });

  it("does not forget an old node with a list that Redis lost: it comes back", () => {
    const format = new LearnedFormat();
    format.learn(
      [
        ["a", NEW],
        ["old", OLD],
      ],
      0,
      KEEP_MS,
    );
    format.learn([["a", NEW]], 100, KEEP_MS);
    expect(format.oldest).toBe(FORMAT_BEFORE);
    format.learn(
      [
        ["a", NEW],
        ["old", OLD],
      ],
      3_000,
      KEEP_MS,
    );
    // Nothing was looked at in an outage, however long: it counts from here on.
    const againMs = 3_000 + KEEP_MS * 5;
    format.learn([["a", NEW]], againMs, KEEP_MS);
    format.learn([["a", NEW]], againMs + KEEP_MS, KEEP_MS);
    expect(format.oldest).toBe(FORMAT_BEFORE);
    format.learn([["a", NEW]], againMs + KEEP_MS + 1, KEEP_MS);
    expect(format.oldest).toBe(FORMAT);
  });

  it("sees a node go back to an older version under the same id", () => {
    const format = new LearnedFormat();
    format.learn(
      [
        ["a", NEW],
        ["b", NEW],
      ],
      0,
      KEEP_MS,
    );
    format.learn(
      [
        ["a", NEW],
        ["b", OLD],
      ],
      1,
      KEEP_MS,
    );
    expect(format.oldest).toBe(FORMAT_BEFORE);
    format.learn(
      [
        ["a", NEW],
        ["b", NEW],
      ],
      2,
      KEEP_MS,
    );
    expect(format.oldest).toBe(FORMAT);
  });
});
