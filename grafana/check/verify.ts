/** Load, then every query. */

import { evaluate, missing, type Result, type Span } from "./evaluate.js";
import type { Fleet } from "./fleet.js";
import { runLoad } from "./load.js";
import { dashboardQueries, metricsIn, ruleQueries } from "./queries.js";

export interface VerifyOptions {
  readonly phaseMs: number;
  readonly clients: number;
  readonly rateInterval: string;
  readonly report: (line: string) => void;
}

/** What was done to the fleet, and when: seconds since 1970. */
export interface Phase {
  readonly name: string;
  readonly at: number;
}

export interface Outcome {
  readonly results: readonly Result[];
  readonly span: Span;
  readonly phases: readonly Phase[];
  /** A Markdown table of queries and what they returned. */
  readonly table: string;
  /** Queries without data, metrics that do not exist. */
  readonly faults: readonly string[];
}

const STEP_SECONDS = 1;

export async function verify(fleet: Fleet, options: VerifyOptions): Promise<Outcome> {
  const { phaseMs, clients, report } = options;
  const phases: Phase[] = [];
  const { failures, endedAt } = await runLoad(fleet, {
    phaseMs,
    clients,
    report: (name) => {
      phases.push({ name, at: Date.now() / 1000 });
      report(`${(Date.now() / 1000 - fleet.startedAt).toFixed(0).padStart(4)} s  ${name}`);
    },
  });
  report(
    `publishers were refused: ${[...failures].map(([code, count]) => `${count} ${code}`).join(", ") || "never"}`,
  );
  const span = { from: Math.ceil(fleet.startedAt), to: Math.floor(endedAt), step: STEP_SECONDS };
  const queries = [...dashboardQueries(options.rateInterval), ...ruleQueries()];
  const results: Result[] = [];
  for (const query of queries) results.push(await evaluate(fleet.prometheusUrl, query, span));
  const absent = await missing(fleet.prometheusUrl, metricsIn(queries), span);
  return {
    results,
    span,
    phases,
    table: tableOf(results),
    faults: [
      ...results.filter(({ series }) => series === 0).map(({ where, expr }) => `no data: ${where}: ${expr}`),
      ...absent.map((name) => `no such metric: ${name}`),
    ],
  };
}

function tableOf(results: readonly Result[]): string {
  const rows = results.map(({ where, legend, series, last, highest }) => [
    where,
    legend,
    `${series}`,
    shown(last),
    shown(highest),
  ]);
  const all = [["panel or rule", "query", "series", "at the end", "highest"], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  return [line(all[0]!), line(widths.map((width) => "-".repeat(width))), ...all.slice(1).map(line)].join(
    "\n",
  );
}

function shown(value: number | undefined): string {
  if (value === undefined) return "none";
  return Number.isInteger(value) ? `${value}` : value.toPrecision(3);
}
