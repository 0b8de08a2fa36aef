/** HDR histograms of microseconds, three significant digits, up to a minute. */

import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
} from "hdr-histogram-js";
import type { LatencySummary } from "../types.js";

const HIGHEST_US = 60_000_000;
/** Enough for a curve; the tail is drawn as far as the count supports it. */
const PERCENTILES = [
  0, 1, 5, 10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.9, 99.95, 99.99,
  99.999, 100,
];

function createHistogram(): Histogram {
  return build({
    bitBucketSize: 32,
    autoResize: false,
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_US,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: false,
  });
}

/** recordValue takes 60 ns, this 5: most values are first counted in a plain table of microseconds. */
export class LatencyRecorder {
  readonly #histogram = createHistogram();
  readonly #table = new Float64Array(131_072);

  /** Two clocks may differ by a microsecond; what took over a minute counts as a minute. */
  record(us: number): void {
    if (us < 0) this.#table[0]!++;
    else if (us < this.#table.length) this.#table[us]!++;
    else this.#histogram.recordValue(Math.min(us, HIGHEST_US));
  }

  reset(): void {
    this.#table.fill(0);
    this.#histogram.reset();
  }

  /** HDR, compressed, in base64. */
  encode(): string {
    for (const [us, count] of this.#table.entries()) {
      if (count > 0) this.#histogram.recordValueWithCount(us, count);
    }
    this.#table.fill(0);
    return encodeIntoCompressedBase64(this.#histogram);
  }
}

/** @returns undefined where nothing was recorded */
export function summarize(encoded: readonly string[]): LatencySummary | undefined {
  const all = createHistogram();
  for (const text of encoded) all.add(decodeFromCompressedBase64(text, 32, false));
  if (all.totalCount === 0) return undefined;
  return {
    count: all.totalCount,
    percentiles: PERCENTILES.map((p) => [p, all.getValueAtPercentile(p)] as const),
    meanUs: Math.round(all.mean * 10) / 10,
    maxUs: all.maxValue,
  };
}

export function percentileUs(latency: LatencySummary, percentile: number): number {
  const found = latency.percentiles.find(([p]) => p === percentile);
  if (found === undefined) throw new Error(`percentile ${percentile} is not kept`);
  return found[1];
}
