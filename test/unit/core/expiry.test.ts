import { afterEach, describe, expect, it, vi } from "vitest";
import { Expiry } from "../../../src/core/expiry.js";

function setUp() {
  const clock = { seconds: 100 };
  const expired: string[] = [];
  const expiry = new Expiry<string>(
    (member) => expired.push(member),
    () => clock.seconds,
  );
  const at = (seconds: number): string[] => {
    clock.seconds = seconds;
    expiry.check();
    return expired.splice(0);
  };
  return { expiry, at };
}

describe("expiry", () => {
  it("ends what runs out once its second is over, once", () => {
    const { expiry, at } = setUp();
    expiry.at(105, "a");
    expect(at(104.9)).toEqual([]);
    expect(at(105)).toEqual(["a"]);
    expect(at(106)).toEqual([]);
  });

  it("never ends something before a fraction of a second that it was given", () => {
    const { expiry, at } = setUp();
    expiry.at(105.2, "a");
    expect(at(105.1)).toEqual([]);
    expect(at(106)).toEqual(["a"]);
  });

  it("catches up with all that ran out while the loop stood still", () => {
    const { expiry, at } = setUp();
    expiry.at(101, "a");
    expiry.at(150, "b");
    expiry.at(151, "c");
    expiry.at(201, "later");
    expect(at(200).sort()).toEqual(["a", "b", "c"]);
  });

  it("forgets what was cancelled, and only that", () => {
    const { expiry, at } = setUp();
    expiry.at(105, "a");
    expiry.at(105, "b");
    expiry.cancel(105, "a");
    expiry.cancel(105, "never added");
    expiry.cancel(300, "a");
    expect(at(110)).toEqual(["b"]);
  });

  it("takes what is added while others expire", () => {
    const clock = { seconds: 100 };
    const expired: string[] = [];
    const expiry = new Expiry<string>(
      (member) => {
        expired.push(member);
        if (member === "a") expiry.at(120, "renewed");
      },
      () => clock.seconds,
    );
    expiry.at(100, "a");
    expiry.check();
    clock.seconds = 120;
    expiry.check();
    expect(expired).toEqual(["a", "renewed"]);
  });

  describe("in time", () => {
    afterEach(() => void vi.useRealTimers());

    it("looks each second, and only while something is to run out", () => {
      vi.useFakeTimers({ now: 100_000 });
      const expired: string[] = [];
      const expiry = new Expiry<string>((member) => expired.push(member));
      expiry.at(102, "before the start");
      expect(vi.getTimerCount()).toBe(0);
      expiry.start();
      vi.advanceTimersByTime(3000);
      expect(expired).toEqual(["before the start"]);
      expect(vi.getTimerCount()).toBe(0);

      expiry.at(110, "after it");
      expiry.at(111, "cancelled");
      vi.advanceTimersByTime(7000);
      expiry.cancel(111, "cancelled");
      expect(expired).toEqual(["before the start", "after it"]);
      vi.advanceTimersByTime(2000);
      expect(vi.getTimerCount()).toBe(0);

      expiry.at(150, "after the stop");
      expiry.stop();
      expect(vi.getTimerCount()).toBe(0);
    });
  });
});
