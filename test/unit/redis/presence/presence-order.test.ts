import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { PresenceEvent } from "../../../../src/core/presence.js";
import { PresenceOrder } from "../../../../src/redis/presence/presence-order.js";

const KEY = "main/room";
const PATIENCE_MS = 2_000;

const event = (connection: string, key = KEY): PresenceEvent => ({
  key,
  kind: "join",
  member: { connection, user: null },
});

function deferred<T>(): { promise: Promise<T>; resolve(value: T): void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

describe("the order of reads and events", () => {
  let told: string[];
  let missed: number;
  let order: PresenceOrder;

  beforeEach(() => {
    vi.useFakeTimers();
    told = [];
    missed = 0;
    order = new PresenceOrder({
      patienceMs: PATIENCE_MS,
      event: ({ member }) => void told.push(member.connection),
      missed: () => void missed++,
    });
    order.counted({ epoch: "E", told: 0 });
  });
  afterEach(() => void vi.useRealTimers());

  const came = (number: number, ...connections: string[]): void =>
    order.receive({ epoch: "E", number, events: connections.map((connection) => event(connection)) });

  /** A read whose answer a test gives. */
  function read(
    name: string,
    key = KEY,
  ): { answer(told: number, epoch?: string): void; done: Promise<void> } {
    const asked = deferred<{ epoch: string; told: number }>();
    const done = order.read(
      key,
      asked.promise,
      () => asked.promise,
      (page) => void told.push(`${name} at ${page.told}`),
    );
    return { answer: (at, epoch = "E") => asked.resolve({ epoch, told: at }), done };
  }

  it("events pass at once where nobody reads", () => {
    came(1, "a", "b");
    expect(told).toEqual(["a", "b"]);
  });

  it("what follows the read waits for its page, of this channel alone", async () => {
    const page = read("page");
    came(1, "a", "b", "c");
    order.receive({ epoch: "E", number: 4, events: [event("elsewhere", "main/other")] });
    expect(told).toEqual(["elsewhere"]);
    page.answer(2);
    await page.done;
    expect(told).toEqual(["elsewhere", "a", "b", "page at 2", "c"]);
    came(5, "d");
    expect(told.at(-1)).toBe("d");
  });

  it("the page waits for what was told before the read", async () => {
    came(1, "a");
    const page = read("page");
    page.answer(3);
    await vi.advanceTimersByTimeAsync(PATIENCE_MS / 2);
    came(2, "b");
    await vi.advanceTimersByTimeAsync(1);
    expect(told).toEqual(["a"]);
    came(3, "c", "d");
    await page.done;
    expect(told).toEqual(["a", "b", "c", "page at 3", "d"]);
    expect(missed).toBe(0);
  });

  it("events that do not come are missed once, and the page is told all the same", async () => {
    const page = read("page");
    page.answer(2);
    await vi.advanceTimersByTimeAsync(PATIENCE_MS);
    await page.done;
    expect(told).toEqual(["page at 2"]);
    expect(missed).toBe(1);
    const next = read("next");
    next.answer(2);
    await next.done;
    came(3, "c");
    expect(told).toEqual(["page at 2", "next at 2", "c"]);
    expect(missed).toBe(1);
  });

  it("an event that comes when a page has it already is not told again, and told as missed", async () => {
    const page = read("page");
    page.answer(2);
    await vi.advanceTimersByTimeAsync(PATIENCE_MS);
    await page.done;
    came(1, "a", "b", "c");
    expect(told).toEqual(["page at 2", "c"]);
    expect(missed).toBe(2);
  });

  it("so are events of the first step that is answered, where they come behind a page that has them", async () => {
    order.reset();
    order.counted({ epoch: "E", told: 7 });
    came(6, "a");
    const page = read("page");
    page.answer(7);
    await page.done;
    came(7, "b");
    expect(told).toEqual(["a", "page at 7"]);
    expect(missed).toBe(1);
    came(8, "c");
    expect(told).toEqual(["a", "page at 7", "c"]);
    expect(missed).toBe(1);
  });

  it("a late event is left out of no channel but those whose page has it", async () => {
    order.reset();
    order.counted({ epoch: "E", told: 7 });
    const page = read("page");
    page.answer(7);
    await page.done;
    order.receive({ epoch: "E", number: 6, events: [event("elsewhere", "main/other"), event("b")] });
    expect(told).toEqual(["page at 7", "elsewhere"]);
    expect(missed).toBe(1);
  });

  it("of a page before the link was away and back nothing is told behind it either", async () => {
    order.reset();
    order.counted({ epoch: "E", told: 6 });
    const page = read("page");
    page.answer(6);
    await page.done;
    order.reset();
    order.counted({ epoch: "E", told: 9 });
    came(6, "a", "b");
    expect(told).toEqual(["page at 6", "b"]);
    expect(missed).toBe(1);
  });

  it("a number that was left out is told as missed", () => {
    came(1, "a");
    came(3, "c");
    expect(told).toEqual(["a", "c"]);
    expect(missed).toBe(1);
  });

  it("an event that could not be read is told as missed, and its neighbours are told", () => {
    order.receive({ epoch: "E", number: 1, events: [event("a"), undefined, event("c")] });
    came(4, "d");
    expect(told).toEqual(["a", "c", "d"]);
    expect(missed).toBe(1);
  });

  it("reads that overlap are told one after the other, each at its place", async () => {
    const [first, second] = [read("first"), read("second")];
    came(1, "a", "b", "c", "d");
    first.answer(1);
    await first.done;
    expect(told).toEqual(["a", "first at 1"]);
    second.answer(3);
    await second.done;
    expect(told).toEqual(["a", "first at 1", "b", "c", "second at 3", "d"]);
  });

  it("a page that another one overtook is read again", async () => {
    const answers = [1, 3];
    const old = deferred<undefined>();
    const ask = async (): Promise<{ epoch: string; told: number }> => {
      await old.promise;
      return { epoch: "E", told: answers.shift()! };
    };
    const slow = order.read(KEY, ask(), ask, (page) => void told.push(`slow at ${page.told}`));
    const quick = read("quick");
    came(1, "a", "b", "c");
    quick.answer(2);
    await quick.done;
    old.resolve(undefined);
    await slow;
    expect(told).toEqual(["a", "b", "quick at 2", "c", "slow at 3"]);
  });

  it("a read that fails lets go of what it held back", async () => {
    const failing = order.read(
      KEY,
      Promise.reject(new Error("from a test")),
      () => Promise.reject(new Error("never asked")),
      () => void told.push("never"),
    );
    came(1, "a");
    await expect(failing).rejects.toThrow("from a test");
    expect(told).toEqual(["a"]);
  });

  it("a page of another record, or after the link was away, waits for nothing", async () => {
    const page = read("page");
    came(1, "a");
    page.answer(500, "F");
    await page.done;
    expect(told).toEqual(["a", "page at 500"]);
    const waiting = read("waiting");
    waiting.answer(7);
    await vi.advanceTimersByTimeAsync(1);
    order.reset();
    await waiting.done;
    expect(told.at(-1)).toBe("waiting at 7");
    expect(missed).toBe(0);
  });
});
