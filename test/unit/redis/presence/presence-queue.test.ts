import { describe, expect, it } from "vitest";
import { PresenceQueue } from "../../../../src/redis/presence/presence-queue.js";

const ENTRY = "main/room\n=ann\na.1";

function taken(queue: PresenceQueue): readonly string[] {
  return queue.take(10, 1_000_000).texts;
}

describe("what is put back after a step that failed", () => {
  it("wins over a refresh that came meanwhile: an update would be lost", () => {
    const queue = new PresenceQueue(() => undefined);
    queue.join(ENTRY, "1");
    queue.written(queue.take(10, 1_000_000));
    queue.update(ENTRY, "2");
    const batch = queue.take(10, 1_000_000);
    expect(batch.texts).toEqual([`*${ENTRY}\n2`]);
    queue.refresh(ENTRY);
    queue.putBack(batch);
    expect(taken(queue)).toEqual([`*${ENTRY}\n2`]);
  });

  it("as a leave gives way to a member that is back, which then tells that it shows nothing", () => {
    const queue = new PresenceQueue(() => undefined);
    queue.join(ENTRY, "1");
    queue.written(queue.take(10, 1_000_000));
    queue.leave(ENTRY);
    const batch = queue.take(10, 1_000_000);
    expect(batch.texts).toEqual([`-${ENTRY}`]);
    queue.join(ENTRY, undefined);
    queue.putBack(batch);
    expect(taken(queue)).toEqual([`+${ENTRY}\n`]);
  });

  it("gives way to what is newer", () => {
    const queue = new PresenceQueue(() => undefined);
    queue.join(ENTRY, "1");
    const batch = queue.take(10, 1_000_000);
    queue.leave(ENTRY);
    queue.putBack(batch);
    expect(taken(queue)).toEqual([`-${ENTRY}`]);
  });
});
