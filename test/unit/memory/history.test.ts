import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { BusPublication, HistoryRule } from "../../../src/core/broker.js";
import { MemoryHistory } from "../../../src/memory/history.js";
import { Encoding } from "../../../src/encoding/payload.js";

const RULE: HistoryRule = { size: 10, ttlMs: 1_000 };
const WINDOW_MS = 5_000;
const EMPTY_MS = 150_000;
const DAY_MS = 86_400_000;

function publication(key: string, bytes: Uint8Array = Buffer.from("1")): BusPublication {
  return {
    key,
    payload: { bytes, encoding: Encoding.json },
    from: undefined,
    event: undefined,
    tags: undefined,
    exclude: undefined,
    position: undefined,
    publishedAtMs: 0,
  };
}

describe("memory history", () => {
  let history: MemoryHistory;

  const append = (key: string, messageId?: string) =>
    history.append(publication(key), RULE, messageId).position;
  const offsets = (key: string) =>
    history
      .read(key, { rule: RULE, since: undefined, limit: 100, reverse: false })
      .publications.map(({ position }) => position!.offset);
  const pass = (ms: number) => vi.setSystemTime(Date.now() + ms);

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"] });
    history = new MemoryHistory(WINDOW_MS, EMPTY_MS);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("drops what expired and goes on with the same epoch", () => {
    const first = append("main/a");
    pass(RULE.ttlMs);
    expect(offsets("main/a")).toEqual([]);
    expect(append("main/a")).toEqual({ offset: 2, epoch: first.epoch });
    expect(offsets("main/a")).toEqual([2]);
  });

  it("begins anew, with another epoch, when nobody looked for long", () => {
    const first = append("main/a");
    pass(DAY_MS);
    const next = append("main/a");
    expect(next.offset).toBe(1);
    expect(next.epoch).not.toBe(first.epoch);
  });

  it("keeps the standing of a channel that is looked at", () => {
    const first = append("main/a");
    for (let minute = 0; minute < 60; minute++) {
      pass(60_000);
      expect(history.top("main/a", RULE)).toEqual(first);
    }
  });

  it("knows a messageId for the window from when it was made", () => {
    const first = append("main/a", "m1");
    pass(WINDOW_MS - 1);
    expect(history.positionOf("main/a", "m1")).toEqual(first);
    expect(history.positionOf("main/b", "m1")).toBeUndefined();
    pass(1);
    expect(history.positionOf("main/a", "m1")).toBeUndefined();
    append("main/a", "m1");
    expect(history.positionOf("main/a", "m1")).toMatchObject({ offset: 2 });
  });

  it("forgets the channel that was published to longest ago when it holds too much", () => {
    const large = Buffer.alloc(100 * 1024 * 1024);
    const before = append("main/a");
    append("main/b");
    for (let i = 0; i < 3; i++) history.append(publication("main/large", large), RULE, undefined);
    const after = history.top("main/a", RULE);
    expect(after.offset).toBe(0);
    expect(after.epoch).not.toBe(before.epoch);
    const second = append("main/a");
    expect(second).toEqual({ offset: 1, epoch: after.epoch });
  });

  it("forgets nothing that was published for names that are only looked at, however many", () => {
    const first = append("main/a");
    const lookedAt = history.top("main/old", RULE);
    const subscribed = history.top("main/b", RULE);
    for (let i = 0; i < 250_000; i++) {
      if (i % 50_000 === 0) expect(history.top("main/b", RULE)).toEqual(subscribed);
      history.top(`main/${i}`, RULE);
    }
    expect(history.top("main/a", RULE)).toEqual(first);
    expect(offsets("main/a")).toEqual([1]);
    expect(history.top("main/old", RULE).epoch).not.toBe(lookedAt.epoch);
    expect(append("main/b")).toEqual({ ...subscribed, offset: 1 });
    const last = history.top("main/249999", RULE);
    pass(EMPTY_MS);
    expect(append("main/b").offset).toBe(2);
    expect(history.top("main/249999", RULE).epoch).not.toBe(last.epoch);
  });

  it("gives every channel an epoch of its own, and other ones in another process", () => {
    const epochs = [append("main/a"), append("main/b")].map(({ epoch }) => epoch);
    history = new MemoryHistory(WINDOW_MS, EMPTY_MS);
    epochs.push(append("main/a").epoch);
    expect(new Set(epochs).size).toBe(3);
  });
});
