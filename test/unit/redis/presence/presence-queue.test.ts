import { beforeEach, describe, expect, it } from "vitest";

import { PresenceQueue } from "../../../../src/redis/presence/presence-queue.js";

const ALL = [Infinity, Infinity] as const;

describe("what a node has yet to write of its members", () => {
  let queue: PresenceQueue;
  let grew: number;
  beforeEach(() => {
    grew = 0;
    queue = new PresenceQueue(() => grew++);
  });

  /** Takes all that waits, as written. */
  function written(): readonly string[] {
    const batch = queue.take(...ALL);
    queue.written(batch);
    return batch.texts;
  }

  it("is as it always was where nobody shows info", () => {
    queue.join("a", undefined);
    queue.join("b", undefined);
    queue.leave("b");
    expect(written()).toEqual(["+a"]);
    queue.refresh("a");
    expect(written()).toEqual(["*a"]);
    queue.writeAgain("a", false);
    expect(written()).toEqual(["*a"]);
    queue.writeAgain("a", true);
    expect(written()).toEqual(["~a"]);
    queue.leave("a");
    expect(written()).toEqual(["-a"]);
    expect([queue.hasInfos, queue.size, grew]).toEqual([false, 0, 6]);
  });

  it("has info where it may be another than was written, and not where a member is only refreshed", () => {
    queue.join("a", "1");
    expect(written()).toEqual(["+a\n1"]);
    queue.refresh("a");
    expect(written()).toEqual(["?a"]);
    queue.writeAgain("a", false);
    expect(written()).toEqual(["?a"]);
    queue.update("a", "2");
    queue.update("a", "3");
    queue.refresh("a");
    queue.writeAgain("a", false);
    expect(written()).toEqual(["*a\n3"]);
    queue.writeAgain("a", true);
    queue.update("a", "4");
    expect(written()).toEqual(["~a\n4"]);
  });

  it("says once that a member shows nothing any more", () => {
    queue.join("a", "1");
    written();
    queue.update("a", undefined);
    expect(queue.hasInfos).toBe(true);
    expect(written()).toEqual(["*a\n"]);
    expect(queue.hasInfos).toBe(false);
    queue.refresh("a");
    expect(written()).toEqual(["*a"]);
    queue.leave("a");
    queue.join("a", undefined);
    expect(written()).toEqual(["*a\n"]);
  });

  it("keeps what changed while a batch was on its way, and puts back what may not have been written", () => {
    queue.join("a", "1");
    const first = queue.take(...ALL);
    queue.update("a", undefined);
    const second = queue.take(...ALL);
    queue.update("a", "3");
    queue.written(first);
    queue.putBack(second);
    expect(queue.take(...ALL).texts).toEqual(["*a\n3"]);
    queue.join("b", "1");
    queue.putBack(queue.take(...ALL));
    // Redis may have it.
    queue.leave("b");
    expect(written()).toEqual(["-b"]);
  });

  it("has the infos again that the record does not have, but of those alone that are still there", () => {
    for (const entry of ["a", "b", "c"]) queue.join(entry, `${entry}${entry}`);
    queue.join("d", undefined);
    written();
    queue.leave("a");
    queue.writeMissing(["a", "b", "x"]);
    expect(written()).toEqual(["-a", "*b\nbb"]);
    queue.refresh("b");
    queue.update("c", "c");
    queue.writeInfosAgain();
    expect(written()).toEqual(["=b\nbb", "*c\nc"]);
  });

  it("is taken in batches that are bounded in items and characters, infos included", () => {
    for (let at = 0; at < 10; at++) queue.join(`m${at}`, "x".repeat(100));
    expect(queue.take(3, Infinity).texts).toHaveLength(3);
    expect(queue.take(Infinity, 250).texts).toHaveLength(3);
    expect(queue.take(...ALL).texts).toHaveLength(4);
  });
});
