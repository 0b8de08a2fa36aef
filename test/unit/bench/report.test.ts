import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

import {
  barChart,
  casesOf,
  deliveriesChart,
  headlines,
  latencyChart,
  medianOf,
  memoryChart,
  peersOf,
  percentileOf,
} from "../../../bench/report/charts.js";
import { formatValue } from "../../../bench/report/format.js";
import { renderReport, writeReport } from "../../../bench/report/index.js";
import type { BenchResult } from "../../../bench/types.js";
import { benchResult } from "./results.js";

const HOSTILE = `</script><img src=x onerror="alert('1')">&`;
const ESCAPED = "&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;";

const scriptsOf = (page: string): string[] =>
  Array.from(page.matchAll(/<script(?: [^>]*)?>([\s\S]*?)<\/script>/g), ([, text]) => text!);
const dataOf = (page: string) =>
  JSON.parse(scriptsOf(page)[0]!) as { peers: string[]; charts: { kind: string; title: string }[] };
const caseOf = (result: BenchResult, scenario: string) =>
  casesOf(result).find((each) => each.scenario === scenario)!;

/** Every text that a result has, replaced by a hostile one. */
function hostileResult(): BenchResult {
  const result = benchResult();
  return {
    ...result,
    command: HOSTILE,
    startedAt: HOSTILE,
    finishedAt: HOSTILE,
    machine: { ...result.machine, cpu: HOSTILE, os: HOSTILE, node: HOSTILE, placement: HOSTILE },
    versions: { [HOSTILE]: HOSTILE },
    options: { [HOSTILE]: HOSTILE },
    reference: HOSTILE,
    skipped: [HOSTILE],
    profiles: [HOSTILE],
    runs: result.runs.map((run) => ({
      ...run,
      variant: HOSTILE,
      peer: `ws://127.0.0.1:1/${HOSTILE}`,
      startedAt: HOSTILE,
      problems: [HOSTILE],
      figures: run.figures.map((figure) => ({ ...figure, label: HOSTILE, unit: HOSTILE })),
    })),
    summary: result.summary.map((row) => ({
      ...row,
      variant: HOSTILE,
      figure: { ...row.figure, label: HOSTILE, unit: HOSTILE },
      peers: row.peers.map((cell) => ({ ...cell, peer: `ws://127.0.0.1:1/${HOSTILE}` })),
    })),
  };
}

test("the report is one file that asks nobody for anything", async () => {
  const folder = await mkdtemp(join(tmpdir(), "starling-report-"));
  try {
    const path = join(folder, "report.html");
    await writeReport(benchResult(), path);
    const page = await readFile(path, "utf8");
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).toContain("default-src 'none'; script-src 'sha256-");
    expect(page.replace(/<script>[\s\S]*/, "")).not.toMatch(/\b(src|href|srcset|action)=|@import|url\(/);
    // The data, and the page's script with Chart.js in it.
    expect(scriptsOf(page)).toHaveLength(2);
    expect(scriptsOf(page)[1]!.length).toBeGreaterThan(100_000);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("hostile names, units, commands and problems stay text", async () => {
  const page = await renderReport(hostileResult());
  expect(page).toContain(ESCAPED);
  expect(page).not.toContain("<img");
  expect(scriptsOf(page)).toHaveLength(2);
  expect(dataOf(page).peers).toEqual([`ws://127.0.0.1:1/${HOSTILE}`]);
});

test("it tells the command, the machine, versions, options, and what was not run", async () => {
  const page = await renderReport(benchResult({ profiles: ["profiles/node.cpuprofile"] }));
  for (const text of [
    "npm run bench -- connect fanout bridge --peers all --runs 5",
    "Example CPU at 3 GHz",
    "servers on core 0, load and Redis on core 1",
    "payloadBytes <b>128</b>",
    "redis <b>7.0.15</b>",
    "raw in bridge: it has no bridge",
    "profiles/node.cpuprofile",
  ]) {
    expect(page).toContain(text);
  }
});

test("it warns where the load generator was the limit, and only there", async () => {
  const page = await renderReport(benchResult());
  expect(page).toContain("<li>fanout: 1 x 1,000, starling: in 1 of 5 runs</li>");
  expect(page).toContain("the generator used 97 % of its core (run 2)");

  const { runs, summary } = benchResult();
  const clean = await renderReport(
    benchResult({
      runs: runs.map((run) => ({ ...run, limited: "none", problems: [] })),
      summary: summary.map((row) => ({
        ...row,
        peers: row.peers.map((cell) => ({ ...cell, clientLimitedRuns: 0 })),
      })),
      skipped: [],
    }),
  );
  expect(clean).not.toMatch(/the limit|was the limit|<section class="warning"/);
});

test("a table has median, spread and ratio of each peer", async () => {
  const result = benchResult();
  const row = result.summary.find(({ figure }) => figure.name === "rssBytesPerConnection")!;
  const { median, min, max, ratio } = row.peers.find(({ peer }) => peer === "socket.io")!;
  const page = await renderReport(result);
  expect(page).toContain(`<b>${formatValue(median, "bytes")}</b>`);
  expect(page).toContain(`<small>${formatValue(min, "bytes")} – ${formatValue(max, "bytes")}</small>`);
  expect(ratio!.median).toBeGreaterThan(1);
  expect(page).toContain(`× ${Number(ratio!.median.toFixed(2))} (`);
});

test("a result without runs is a report that says so", async () => {
  const page = await renderReport(benchResult({ runs: [], summary: [] }));
  expect(page).toContain("Nothing was measured.");
  expect(dataOf(page)).toEqual({ peers: [], charts: [] });
});

test("a single run has neither a spread nor a missing number", async () => {
  const { runs, summary } = benchResult();
  const page = await renderReport(
    benchResult({
      runs: runs.filter(({ run }) => run === 1),
      summary: summary.map((row) => ({
        ...row,
        peers: row.peers.map(({ ratio: _ratio, ...cell }) => ({
          ...cell,
          runs: 1,
          min: cell.median,
          max: cell.median,
        })),
      })),
    }),
  );
  expect(page).toContain("Medians of 1 run ");
  expect(page.replace(/<script[\s\S]*/, "")).not.toMatch(/NaN|undefined|Infinity|<small>[^<]* – /);
});

test("peers come in the bench's order, then attached URLs as they came", () => {
  const result = benchResult();
  const [first] = result.runs;
  const runs = [
    { ...first!, peer: "wss://b.example" },
    { ...first!, peer: "wss://a.example" },
    ...result.runs,
  ];
  expect(peersOf({ ...result, runs })).toEqual([
    ...["starling", "raw", "raw-batched", "ws", "socket.io", "socket.io-uws", "json-publish", "centrifugo"],
    ...["wss://b.example", "wss://a.example"],
  ]);
});

test("bars carry median, spread and ratio, and say where the server could do more", () => {
  const row = benchResult().summary.find(({ figure }) => figure.name === "deliveriesPerServerCoreSecond")!;
  const chart = barChart(row, "title", ["raw", "starling", "absent"]);
  expect(chart.bars.map(({ peer, atLeast }) => [peer, atLeast])).toEqual([
    ["raw", false],
    ["starling", true],
  ]);
  const cell = row.peers.find(({ peer }) => peer === "raw")!;
  expect(chart.bars[0]).toMatchObject({ median: cell.median, min: cell.min, max: cell.max });
  expect(chart.bars[0]!.ratio).toBe(cell.ratio!.median);
});

test("latency is the median of the runs at each percentile, up to where samples reach", () => {
  const chart = latencyChart(caseOf(benchResult(), "bridge"), ["starling", "raw"])!;
  expect(chart.lines.map(({ peer }) => peer)).toEqual(["starling"]);
  const { points } = chart.lines[0]!;
  for (const [, median, least, most] of points) {
    expect(least).toBeLessThanOrEqual(median);
    expect(median).toBeLessThanOrEqual(most);
  }
  const latencies = points.map(([, median]) => median);
  expect(latencies).toEqual(latencies.toSorted((a, b) => a - b));
  // 250,000 samples: 5.4 nines.
  expect(points.at(-1)![0]).toBeCloseTo(5.3, 1);
  expect(percentileOf(2)).toBeCloseTo(99);
  expect(latencyChart(caseOf(benchResult(), "connect"), ["starling"])).toBeUndefined();
});

test("curves are those of a run that happened", () => {
  const result = benchResult();
  const fanout = caseOf(result, "fanout");
  const chart = deliveriesChart(fanout, ["ws"])!;
  const curves = fanout.runs.filter(({ peer }) => peer === "ws").map(({ series }) => series[0]!.points);
  expect(curves).toContainEqual(chart.lines[0]!.points);
  expect(deliveriesChart(caseOf(result, "connect"), ["ws"])).toBeUndefined();
});

test("memory is drawn against the connections held, from where it stood without", () => {
  const chart = memoryChart(caseOf(benchResult(), "connect"), ["starling", "ws"])!;
  const [starling, ws] = chart.lines;
  expect(starling!.points[0]).toEqual([0, 0]);
  expect(starling!.points.at(-1)![0]).toBe(10_000);
  expect(ws!.points.at(-1)![1]).toBeGreaterThan(starling!.points.at(-1)![1]);
  expect(memoryChart(caseOf(benchResult(), "fanout"), ["ws"])).toBeUndefined();
});

test("the overview has a case's first figure, and what a connection costs", () => {
  const names = casesOf(benchResult()).map((each) => headlines(each).map(({ figure }) => figure.name));
  expect(names).toEqual([
    ["acceptsPerServerCoreSecond", "rssBytesPerConnection"],
    ["deliveriesPerServerCoreSecond"],
    ["sustainedDeliveries"],
  ]);
});

test("a median of an even number of values lies between the middle two", () => {
  expect(medianOf([4, 1, 3])).toBe(3);
  expect(medianOf([4, 1, 3, 2])).toBe(2.5);
});

test.each([
  [1_487_000, "1/s", "1.49 M/s"],
  [999_600, "1/s", "1 M/s"],
  [60_123, "1/s", "60.1 k/s"],
  [4_900, "1/s", "4,900/s"],
  [480, "us", "480 µs"],
  [12_700, "us", "12.7 ms"],
  [1_153, "bytes", "1,153 B"],
  [187_227, "bytes", "187 kB"],
  [8.6e9, "bytes", "8.6 GB"],
  [0.036, "%", "0.036 %"],
  [0, "messages", "0 messages"],
  [Number.NaN, "1/s", "-"],
] as const)("%d %s reads %s", (value, unit, text) => {
  expect(formatValue(value, unit)).toBe(text);
});
