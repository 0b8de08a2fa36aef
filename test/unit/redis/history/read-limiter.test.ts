import { describe, expect, it } from "vitest";

import { ReadLimiter } from "../../../../src/redis/history/read-limiter.js";

/** A job that ends when told to. */
function job() {
  let end!: (failure?: Error) => void;
  const ended = new Promise<void>((resolve, reject) => {
    end = (failure) => (failure === undefined ? resolve() : reject(failure));
  });
  const state = { started: false, end: (failure?: Error) => end(failure) };
  const run = (): Promise<void> => {
    state.started = true;
    return ended;
  };
  return { state, run };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("gate", () => {
  it("runs so many at once, the others in order", async () => {
    const gate = new ReadLimiter(2, 10);
    const jobs = Array.from({ length: 4 }, job);
    const runs = jobs.map(({ run }) => gate.run(run));
    const started = (): boolean[] => jobs.map(({ state }) => state.started);
    await turn();
    expect(started()).toEqual([true, true, false, false]);
    jobs[1]!.state.end();
    await turn();
    expect(started()).toEqual([true, true, true, false]);
    for (const { state } of jobs) state.end();
    await Promise.all(runs);
  });

  it("gives the place of one that failed to the next", async () => {
    const gate = new ReadLimiter(1, 10);
    const [first, second] = [job(), job()];
    const failing = gate.run(first.run);
    const waiting = gate.run(second.run);
    first.state.end(new Error("of the test"));
    await expect(failing).rejects.toThrow("of the test");
    second.state.end();
    await waiting;
    // All places are free again.
    expect(await gate.run(() => Promise.resolve("after"))).toBe("after");
  });

  it("refuses with unavailable when too many wait", async () => {
    const gate = new ReadLimiter(1, 1);
    const [first, second] = [job(), job()];
    const runs = [gate.run(first.run), gate.run(second.run)];
    await expect(gate.run(() => Promise.resolve())).rejects.toMatchObject({ code: "unavailable" });
    first.state.end();
    second.state.end();
    await Promise.all(runs);
  });
});
