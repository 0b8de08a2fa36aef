/** What the page draws, computed here so that it can be tested without a browser. */

import {
  PEER_NAMES,
  type BenchResult,
  type Figure,
  type ScenarioRun,
  type Series,
  type SummaryRow,
} from "../types.js";

export interface Bar {
  readonly peer: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** The median quotient to the reference, as a label. */
  readonly ratio: number | undefined;
  /** The server could do more than this. */
  readonly atLeast: boolean;
}

export interface BarChart {
  readonly kind: "bars";
  readonly title: string;
  readonly unit: string;
  readonly better: Figure["better"];
  readonly bars: readonly Bar[];
}

/** [x, median, least, most] */
export type BandPoint = readonly [number, number, number, number];

export interface LatencyChart {
  readonly kind: "latency";
  readonly title: string;
  readonly lines: readonly { readonly peer: string; readonly points: readonly BandPoint[] }[];
}

export interface CurveChart {
  readonly kind: "curve";
  readonly title: string;
  readonly xLabel: string;
  readonly xUnit: string;
  readonly unit: string;
  readonly lines: readonly {
    readonly peer: string;
    readonly points: readonly (readonly [number, number])[];
  }[];
}

export type Chart = BarChart | LatencyChart | CurveChart;

/** One case of one scenario: its summary rows and runs. */
export interface Case {
  readonly scenario: string;
  readonly variant: string;
  readonly rows: readonly SummaryRow[];
  readonly runs: readonly ScenarioRun[];
}

const NINES_STEP = 0.1;
const NINES_MAX = 6;
const SLOPE_POINTS_MIN = 4;
/** As a share of the connections at the end. */
const SLOPE_BEGIN_MAX = 0.1;

/** Every peer of the result: those that the bench knows in its own order, then the others as they come. */
export function peersOf(result: BenchResult): readonly string[] {
  const names = new Set([
    ...result.runs.map((run) => run.peer),
    ...result.summary.flatMap((row) => row.peers.map((cell) => cell.peer)),
  ]);
  const known: readonly string[] = PEER_NAMES;
  return [
    ...known.filter((name) => names.has(name)),
    ...Array.from(names).filter((name) => !known.includes(name)),
  ];
}

/** In the order in which they were run. */
export function casesOf(result: BenchResult): readonly Case[] {
  const cases = new Map<
    string,
    { scenario: string; variant: string; rows: SummaryRow[]; runs: ScenarioRun[] }
  >();
  const caseOf = ({ scenario, variant }: { readonly scenario: string; readonly variant: string }) => {
    const key = JSON.stringify([scenario, variant]);
    let found = cases.get(key);
    if (found === undefined) cases.set(key, (found = { scenario, variant, rows: [], runs: [] }));
    return found;
  };
  for (const run of result.runs) caseOf(run).runs.push(run);
  for (const row of result.summary) caseOf(row).rows.push(row);
  return Array.from(cases.values());
}

export function barChart(row: SummaryRow, title: string, peers: readonly string[]): BarChart {
  const bars = peers.flatMap((peer): Bar[] => {
    const cell = row.peers.find((each) => each.peer === peer);
    if (cell === undefined) return [];
    const { median, min, max, ratio, clientLimitedRuns } = cell;
    return [
      {
        peer,
        median,
        min,
        max,
        ratio: ratio?.median,
        atLeast: clientLimitedRuns > 0 && row.figure.better === "higher",
      },
    ];
  });
  return { kind: "bars", title, unit: row.figure.unit, better: row.figure.better, bars };
}

/** By the number of nines: 0 is the least, 1 is 90 %, 2 is 99 %, as the tail is what one looks for. */
export const percentileOf = (nines: number): number => 100 * (1 - 10 ** -nines);

export function latencyChart({ runs }: Case, peers: readonly string[]): LatencyChart | undefined {
  const lines = peers.flatMap((peer) => {
    const latencies = runs.flatMap((run) =>
      run.peer === peer && run.latency !== undefined && run.latency.count > 0 ? [run.latency] : [],
    );
    if (latencies.length === 0) return [];
    // Beyond this a percentile is the single worst sample.
    const ninesEnd = Math.min(NINES_MAX, Math.log10(Math.min(...latencies.map((each) => each.count))));
    const points: BandPoint[] = [];
    for (let step = 0; step * NINES_STEP <= ninesEnd; step++) {
      const nines = step * NINES_STEP;
      const values = latencies.map((each) => latencyAt(each.percentiles, percentileOf(nines)));
      points.push([nines, medianOf(values), Math.min(...values), Math.max(...values)]);
    }
    return [{ peer, points }];
  });
  return lines.length === 0 ? undefined : { kind: "latency", title: "Latency by percentile", lines };
}

/** Of the first point that covers the percentile, as an HDR histogram answers. Zero has no place on a log axis. */
function latencyAt(points: readonly (readonly [number, number])[], percentile: number): number {
  const found = points.find(([at]) => at >= percentile - 1e-9) ?? points.at(-1);
  return Math.max(1, found?.[1] ?? 1);
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function deliveriesChart({ runs }: Case, peers: readonly string[]): CurveChart | undefined {
  const lines = peers.flatMap((peer) => {
    const run = middleRun(
      runs.filter((each) => each.peer === peer),
      "deliveries",
    );
    return run === undefined ? [] : [{ peer, points: seriesOf(run, "deliveries")!.points }];
  });
  if (!lines.some(({ points }) => points.some(([, value]) => value > 0))) return undefined;
  return {
    kind: "curve",
    title: "Deliveries over time",
    xLabel: "seconds of the measured part",
    xUnit: "s",
    unit: "1/s",
    lines,
  };
}

/** Memory of the servers against the connections they hold: the slope is what a connection costs. */
export function memoryChart({ runs }: Case, peers: readonly string[]): CurveChart | undefined {
  const lines = peers.flatMap((peer) => {
    const run = middleRun(
      runs.filter((each) => each.peer === peer && growsOf(each)),
      "serverRssBytes",
    );
    if (run === undefined) return [];
    const rss = seriesOf(run, "serverRssBytes")!.points;
    const held = seriesOf(run, "connections")!.points;
    const first = rss[0]![1];
    const points = rss.map(([second, bytes]) => [valueAt(held, second), bytes - first] as const);
    return [{ peer, points: points.toSorted((a, b) => a[0] - b[0]) }];
  });
  if (lines.length === 0) return undefined;
  return {
    kind: "curve",
    title: "Memory of the servers by connections held",
    xLabel: "connections",
    xUnit: "",
    unit: "bytes",
    lines,
  };
}

/** Sampled often enough, from close to none on, for a slope to be seen. */
function growsOf(run: ScenarioRun): boolean {
  const held = seriesOf(run, "connections")?.points ?? [];
  const rss = seriesOf(run, "serverRssBytes")?.points ?? [];
  if (held.length < SLOPE_POINTS_MIN || rss.length < SLOPE_POINTS_MIN) return false;
  return held[0]![1] <= held.at(-1)![1] * SLOPE_BEGIN_MAX;
}

/** The last value that was known by then. */
function valueAt(points: readonly (readonly [number, number])[], second: number): number {
  return (points.findLast(([at]) => at <= second) ?? points[0]!)[1];
}

const seriesOf = (run: ScenarioRun, name: Series["name"]): Series | undefined =>
  run.series.find((each) => each.name === name && each.points.length > 0);

/** The run in the middle by the mean of a curve: one that happened, where an average of curves did not. */
function middleRun(runs: readonly ScenarioRun[], name: Series["name"]): ScenarioRun | undefined {
  const meanOf = (run: ScenarioRun): number => {
    const { points } = seriesOf(run, name)!;
    return points.reduce((sum, [, value]) => sum + value, 0) / points.length;
  };
  const withSeries = runs.filter((run) => seriesOf(run, name) !== undefined);
  return withSeries.toSorted((a, b) => meanOf(a) - meanOf(b))[withSeries.length >> 1];
}

/** What a case is about: its first figure that can be good or bad; of connecting, both its memory and its speed. */
export function headlines({ scenario, rows }: Case): readonly SummaryRow[] {
  const telling = rows.filter(({ figure }) => figure.better !== "neither");
  const speed = scenario === "connect" ? telling.find(({ figure }) => figure.unit === "1/s") : undefined;
  return telling.filter(
    (row, at) =>
      at === 0 || row === speed || (row.figure.unit === "bytes" && /connection/i.test(row.figure.name)),
  );
}
