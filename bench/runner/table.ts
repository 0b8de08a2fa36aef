/** The result on a terminal. */

import { groupBy } from "./group.js";
import { ratiosOf } from "./summary.js";
import type { BenchResult, SummaryCell, SummaryRow } from "../types.js";

export function printable(result: BenchResult): string {
  const { machine, skipped, profiles } = result;
  const lines: string[] = [];
  const cases = groupBy(result.summary, ({ scenario, variant }) => `${scenario}: ${variant}`);
  for (const [title, rows] of cases) lines.push("", title, ...caseTable(rows).map((line) => `  ${line}`));
  const ratios = ratioTable(result);
  if (ratios.length > 0) lines.push("", "Ratios, run by run:", ...ratios.map((line) => `  ${line}`));
  const problems = problemLines(result);
  if (problems.length > 0)
    lines.push("", "To know before believing it:", ...problems.map((line) => `  ${line}`));
  if (skipped.length > 0) lines.push("", "Not run:", ...skipped.map((line) => `  ${line}`));
  if (profiles.length > 0) lines.push("", "CPU profiles:", ...profiles.map((path) => `  ${path}`));
  const gibibytes = (machine.memoryBytes / 2 ** 30).toFixed(1);
  lines.push(
    "",
    `${machine.cpu}, ${machine.cores} cores, ${gibibytes} GiB, ${machine.os}; ${machine.placement}`,
    Object.entries(result.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
    `$ ${result.command}`,
  );
  return `${lines.join("\n")}\n`;
}

function caseTable(rows: readonly SummaryRow[]): string[] {
  const peers = [...new Set(rows.flatMap((row) => row.peers.map(({ peer }) => peer)))];
  const header = ["", ...peers];
  const body = rows.map(({ figure, peers: cells }) => [
    `${figure.label}${figure.unit === "x" ? "" : `, ${figure.unit}`}`,
    ...peers.map((peer) => cellText(cells.find((cell) => cell.peer === peer))),
  ]);
  return aligned([header, ...body]);
}

/** The first peer's figures divided by each other's: what a claim such as "15 x ws" stands on. */
function ratioTable(result: BenchResult): string[] {
  const ratios = ratiosOf(result.runs);
  const peers = [...new Set(ratios.flatMap((row) => row.peers.map(({ peer }) => peer)))];
  if (peers.length === 0) return [];
  const subject = ratios[0]!.subject;
  const header = [`${subject} / ...`, "", ...peers];
  const body = ratios
    .filter((row) => row.subject === subject)
    .map((row) => [
      `${row.scenario}: ${row.variant}`,
      row.figure.label,
      ...peers.map((name) => {
        const found = row.peers.find(({ peer }) => peer === name);
        if (found === undefined) return "-";
        const spread = found.runs > 1 ? ` (${ratio(found.min)}-${ratio(found.max)})` : "";
        return `${ratio(found.median)}x${spread}`;
      }),
    ]);
  return aligned([header, ...body], 2);
}

function ratio(value: number): string {
  if (value >= 10) return value.toFixed(1);
  return value >= 0.1 || value === 0 ? value.toFixed(2) : value.toPrecision(2);
}

function aligned(table: readonly (readonly string[])[], textColumns = 1): string[] {
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table.map((row) =>
    row
      .map((text, column) =>
        column < textColumns ? text.padEnd(widths[column]!) : text.padStart(widths[column]!),
      )
      .join("  ")
      .trimEnd(),
  );
}

function cellText(cell: SummaryCell | undefined): string {
  if (cell === undefined) return "-";
  const spread = cell.runs > 1 ? ` (${number(cell.min)}-${number(cell.max)})` : "";
  return `${number(cell.median)}${spread}${cell.clientLimitedRuns > 0 ? " !" : ""}`;
}

export function number(value: number): string {
  const size = Math.abs(value);
  if (size >= 9.999e6) return `${(value / 1e6).toFixed(1)} M`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  if (size >= 10) return value.toFixed(1);
  return value === 0 ? "0" : value.toPrecision(3);
}

function problemLines({ runs }: BenchResult): string[] {
  return runs.flatMap(({ scenario, variant, peer, run, problems }) =>
    problems.map((problem) => `${scenario}, ${variant}, ${peer}, run ${run}: ${problem}`),
  );
}
