import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Registry } from "prom-client";
import { Buckets } from "../core/stats.js";
import { gauge, histogram } from "./collectors.js";

/** How often the native monitor looks: fine enough for p50, at no measurable cost. */
const RESOLUTION_MS = 20;
/** How often a timer of ours does, for the histogram: every stall longer than this is seen. */
const SAMPLE_MS = 100;
const NANOSECONDS = 1e9;

/**
 * How late the event loop runs its timers: as a histogram since the start, and
 * as p50, p99 and maximum since the last scrape, which a histogram's bounds blur.
 * @returns stops measuring
 */
export function collectEventLoopLag(registry: Registry): () => void {
  const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  monitor.enable();
  // The monitor records the whole time between its looks: what is over its resolution is lag.
  const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / NANOSECONDS - RESOLUTION_MS / 1000);

  const name = "starling_event_loop_lag";
  const since = "since the last scrape, seconds";
  gauge(registry, { name: `${name}_p50_seconds`, help: `Median event loop lag ${since}` }, () =>
    seconds(monitor.percentile(50)),
  );
  gauge(registry, { name: `${name}_p99_seconds`, help: `99th percentile of event loop lag ${since}` }, () =>
    seconds(monitor.percentile(99)),
  );
  // The last of the three to be read, as metrics are collected in the order of their making. A stall that
  // begins right at a scrape is not in the next values: the monitor starts its clock anew. The histogram has it.
  gauge(registry, { name: `${name}_max_seconds`, help: `Longest event loop lag ${since}` }, () => {
    const longest = seconds(monitor.max);
    monitor.reset();
    return longest;
  });

  const lag = new Buckets([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]);
  histogram(registry, { name: `${name}_seconds`, help: "How late a timer ran, seconds" }, lag);
  let dueAtMs = performance.now() + SAMPLE_MS;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    lag.observe(Math.max(0, nowMs - dueAtMs) / 1000);
    dueAtMs = nowMs + SAMPLE_MS;
  }, SAMPLE_MS);
  timer.unref();

  return () => {
    clearInterval(timer);
    monitor.disable();
  };
}
