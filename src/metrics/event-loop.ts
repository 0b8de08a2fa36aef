import { createHistogram } from "node:perf_hooks";
import type { Registry } from "prom-client";
import { Buckets } from "../core/stats.js";
import { gauge, histogram } from "./collectors.js";

/** Every stall longer than this is seen. A look costs an idle process a tenth of a millisecond: it must wake up. */
const SAMPLE_MS = 500;
const NANOSECONDS = 1e9;

/**
 * How late the event loop runs its timers: as a histogram since the start, and
 * as p50, p99 and maximum since the last scrape, which a histogram's bounds blur.
 * @returns stops measuring
 */
export function collectEventLoopLag(registry: Registry): () => void {
  const recent = createHistogram({ lowest: 1000, highest: 1000 * NANOSECONDS, figures: 2 });
  const seconds = (nanoseconds: number) => (recent.count === 0 ? 0 : nanoseconds / NANOSECONDS);

  const name = "starling_event_loop_lag";
  const since = "since the last scrape, seconds";
  gauge(registry, { name: `${name}_p50_seconds`, help: `Median event loop lag ${since}` }, () =>
    seconds(recent.percentile(50)),
  );
  gauge(registry, { name: `${name}_p99_seconds`, help: `99th percentile of event loop lag ${since}` }, () =>
    seconds(recent.percentile(99)),
  );
  // The last of the three to be read, as metrics are collected in the order of their making.
  gauge(registry, { name: `${name}_max_seconds`, help: `Longest event loop lag ${since}` }, () => {
    const longest = seconds(recent.max);
    recent.reset();
    return longest;
  });

  const lag = new Buckets([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]);
  histogram(registry, { name: `${name}_seconds`, help: "How late a timer ran, seconds" }, lag);
  let dueAtMs = performance.now() + SAMPLE_MS;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const late = Math.max(0, nowMs - dueAtMs) / 1000;
    lag.observe(late);
    recent.record(Math.max(1, Math.round(late * NANOSECONDS)));
    dueAtMs = nowMs + SAMPLE_MS;
  }, SAMPLE_MS);
  timer.unref();
  return () => clearInterval(timer);
}
