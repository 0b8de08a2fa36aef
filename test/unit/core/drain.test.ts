import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Drain, retryWindowMs, type DrainOptions } from "../../../src/core/drain.js";
import { silentLog } from "../../../src/core/log.js";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

interface Client {
  readonly number: number;
  readonly obeysRetryAfter: boolean;
  isClosed: boolean;
  retryAfterMs: number | undefined;
  close(name: "restart", options: { readonly retryAfterMs: number }): void;
}

function setUp(
  count: number,
  options: Partial<DrainOptions> = {},
  acceptRate: () => Promise<number> = () => Promise.resolve(10_000),
  obeysRetryAfter: (number: number) => boolean = () => true,
) {
  /** In the order in which they were closed. */
  const gone: Client[] = [];
  const clients = Array.from({ length: count }, (_, number): Client => {
    const client: Client = {
      number,
      obeysRetryAfter: obeysRetryAfter(number),
      isClosed: false,
      retryAfterMs: undefined,
      close(_name, { retryAfterMs }) {
        client.isClosed = true;
        client.retryAfterMs = retryAfterMs;
        gone.push(client);
      },
    };
    return client;
  });
  const stats = { drained: 0 };
  let seed = 1;
  const drain = new Drain(
    { drainNoticeMs: 0, drainMs: 10_000, sessionTtlMs: 120_000, ...options },
    {
      connections: () => clients.filter(({ isClosed }) => !isClosed),
      acceptRate,
      stats,
      log: silentLog,
      // The minimal standard generator of Park and Miller: the same run each time.
      random: () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647,
    },
  );
  let done = false;
  const run = drain.run().then(() => void (done = true));
  return { clients, gone, stats, drain, run, isDone: () => done };
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("a drain", () => {
  it("closes nobody before the load balancer had its time to notice", async () => {
    const { gone, isDone } = setUp(10, { drainNoticeMs: 2000, drainMs: 0 });
    await pass(1999);
    expect(gone).toHaveLength(0);
    await pass(1);
    expect(gone).toHaveLength(10);
    expect(isDone()).toBe(true);
  });

  it("takes the time that the others need to answer off the notice", async () => {
    const slow = () => new Promise<number>((resolve) => setTimeout(() => resolve(5), 1500));
    const { gone } = setUp(1, { drainNoticeMs: 2000, drainMs: 0 }, slow);
    await pass(2000 + 1499);
    expect(gone).toHaveLength(0);
    await pass(1);
    expect(gone).toHaveLength(1);
  });

  it("gives no notice where there is no other node", async () => {
    const { gone, run } = setUp(10, { drainNoticeMs: 60_000, drainMs: 0 }, () => Promise.resolve(0));
    await run;
    expect(gone).toHaveLength(10);
  });

  it("asks once more when the notice is over: nodes that stop together no longer count for each other", async () => {
    const rates = [10_000, 100];
    const { clients } = setUp(1000, { drainNoticeMs: 1000, drainMs: 0 }, () =>
      Promise.resolve(rates.shift()!),
    );
    await pass(1000);
    expect(rates).toEqual([]);
    expect(Math.max(...clients.map(({ retryAfterMs }) => retryAfterMs!))).toBeGreaterThan(9000);
  });

  it("closes as many in each slice as the others, over the whole time, in no order", async () => {
    const { gone, clients, stats, run } = setUp(250, { drainMs: 10_000 });
    const perSecond: number[] = [];
    await pass(0);
    for (let second = 0; second < 10; second++) {
      const before = second === 0 ? 0 : gone.length;
      await pass(second === 9 ? 900 : 999);
      perSecond.push(gone.length - before);
      await pass(1);
    }
    await run;
    for (const count of perSecond) {
      expect(count).toBeGreaterThanOrEqual(22);
      expect(count).toBeLessThanOrEqual(26);
    }
    expect(gone).toHaveLength(250);
    expect(stats.drained).toBe(250);
    expect(gone.map(({ number }) => number)).not.toEqual(clients.map(({ number }) => number));
  });

  it("is over soon where few are there: one in each tenth of a second", async () => {
    const { gone, isDone } = setUp(3, { drainMs: 3_600_000 });
    for (let count = 1; count <= 3; count++) {
      await pass(count === 1 ? 0 : 100);
      expect(gone).toHaveLength(count);
    }
    expect(isDone()).toBe(true);
  });

  it("ends at once where nobody is there", async () => {
    await setUp(0, { drainMs: 3_600_000 }).run;
  });

  it("passes over those who left by themselves meanwhile", async () => {
    const { clients, gone, stats, run } = setUp(100);
    await pass(100);
    for (const client of clients) client.isClosed = true;
    await pass(10_000);
    await run;
    expect(stats.drained).toBe(gone.length);
    expect(gone.length).toBeLessThan(5);
  });

  it("tells clients a random delay within the time that the others need for all of them", async () => {
    // 100,000 at 2 x 2,500 a second: 20 s, twice as long as the drain.
    const { clients, run } = setUp(100_000, { drainMs: 10_000 }, () => Promise.resolve(5000));
    await pass(10_000);
    await run;
    const hints = clients.map(({ retryAfterMs }) => retryAfterMs!);
    expect(Math.max(...hints)).toBeLessThan(20_000);
    const tenths = new Array<number>(10).fill(0);
    for (const hint of hints) tenths[Math.floor(hint / 2000)]!++;
    for (const count of tenths) expect(Math.abs(count - 10_000)).toBeLessThan(1000);
  });

  it("brings no more back in a second than the others take", async () => {
    const rate = 5000;
    const { clients, run } = setUp(100_000, { drainMs: 10_000 }, () => Promise.resolve(rate));
    const startedAtMs = performance.now();
    const backAtMs: number[] = [];
    for (const client of clients) {
      client.close = (_name, { retryAfterMs }) => {
        client.isClosed = true;
        backAtMs.push(performance.now() - startedAtMs + retryAfterMs);
      };
    }
    await pass(10_000);
    await run;
    const perSecond = new Map<number, number>();
    for (const atMs of backAtMs) {
      const second = Math.floor(atMs / 1000);
      perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
    }
    expect(Math.max(...perSecond.values())).toBeLessThan(rate * 1.1);
  });

  it("brings no more back in a second than the others take, where some come back at once", async () => {
    const rate = 5000;
    const prompt = (number: number) => number % 4 !== 0;
    const { clients, run, isDone } = setUp(
      100_000,
      { drainMs: 10_000 },
      () => Promise.resolve(rate),
      (number) => !prompt(number),
    );
    const startedAtMs = performance.now();
    const perSecond = new Map<number, number>();
    for (const client of clients) {
      client.close = (_name, { retryAfterMs }) => {
        client.isClosed = true;
        const backMs = performance.now() - startedAtMs + (prompt(client.number) ? 0 : retryAfterMs);
        const second = Math.floor(backMs / 1000);
        perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      };
    }
    await pass(10_000);
    // The others were told to wait, and are all away.
    expect(clients.filter(({ isClosed, number }) => !isClosed && !prompt(number))).toHaveLength(0);
    expect(isDone()).toBe(false);
    await pass(10_000);
    await run;
    expect(clients.every(({ isClosed }) => isClosed)).toBe(true);
    expect(Math.max(...perSecond.values())).toBeLessThan(rate * 1.1);
  });

  it.each([
    ["the others take them faster than that", 10_000],
    ["there is no other node", 0],
  ])("closes who comes back at once over drainMs where %s", async (_where, rate) => {
    const { gone, isDone } = setUp(
      1000,
      { drainMs: 5000 },
      () => Promise.resolve(rate),
      () => false,
    );
    await pass(2500);
    expect(gone.length).toBeGreaterThan(450);
    expect(gone.length).toBeLessThan(550);
    await pass(2500);
    expect(gone).toHaveLength(1000);
    expect(isDone()).toBe(true);
  });

  it("takes no more than twice drainMs, however slow the others are", async () => {
    const { gone, isDone } = setUp(
      100_000,
      { drainMs: 5000 },
      () => Promise.resolve(100),
      () => false,
    );
    await pass(9000);
    expect(gone.length).toBeLessThan(95_000);
    await pass(1000);
    expect(gone).toHaveLength(100_000);
    expect(isDone()).toBe(true);
  });

  it("is over soon where few come back at once, however slow the others are", async () => {
    const { isDone } = setUp(
      100_003,
      { drainMs: 1000 },
      () => Promise.resolve(1000),
      (number) => number > 3,
    );
    await pass(1000);
    expect(isDone()).toBe(true);
  });

  it("goes on where the others cannot be asked", async () => {
    const { gone, run } = setUp(10, { drainNoticeMs: 100, drainMs: 0 }, () =>
      Promise.reject(new Error("away")),
    );
    await pass(99);
    expect(gone).toHaveLength(0);
    await pass(1);
    await run;
    expect(gone).toHaveLength(10);
  });

  it.each([
    ["its notice", 500],
    ["its slices", 5000],
  ])("that is stopped during %s ends without another close", async (_when, atMs) => {
    const { gone, drain, run } = setUp(100, { drainNoticeMs: 1000, drainMs: 3_600_000 });
    await pass(atMs);
    const before = gone.length;
    drain.stop();
    await run;
    expect(gone).toHaveLength(before);
    expect(before).toBeLessThan(100);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the window for coming back", () => {
  const given = { clients: 100_000, acceptRate: 5000, spreadMs: 10_000, sessionTtlMs: 120_000 };

  it("is clients over accept rate", () => {
    expect(retryWindowMs(given)).toBe(20_000);
  });

  it.each([
    ["where the slices alone are slow enough: one slice", { acceptRate: 10_000 }, 100],
    ["where the others are not known: one slice", { acceptRate: undefined }, 100],
    ["where the node is alone: a second", { acceptRate: 0 }, 1000],
    ["without a drain time, for a few clients: one slice", { clients: 1, spreadMs: 0 }, 100],
    ["never so long that sessions run out meanwhile", { clients: 10_000_000 }, 60_000],
  ])("%s", (_what, differing, windowMs) => {
    expect(retryWindowMs({ ...given, ...differing })).toBe(windowMs);
  });
});
