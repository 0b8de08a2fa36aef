import type { BenchResult, SummaryCell, SummaryRow } from "../types.js";
import {
  barChart,
  deliveriesChart,
  headlines,
  latencyChart,
  memoryChart,
  type Case,
  type Chart,
} from "./charts.js";
import { formatNumber, formatValue } from "./format.js";
import { html, type Html } from "./html.js";

type Plot = (chart: Chart) => Html;

const titleOf = (each: { readonly scenario: string; readonly variant: string }): string =>
  each.variant === "" ? each.scenario : `${each.scenario}: ${each.variant}`;

const DIRECTION = { higher: "more is better", lower: "less is better", neither: "" } as const;

export function overview(
  result: BenchResult,
  cases: readonly Case[],
  peers: readonly string[],
  plot: Plot,
): Html {
  const charts = cases.flatMap((each) =>
    headlines(each).map(
      (row) =>
        html`<article class="card">
          <h3>${titleOf(row)}</h3>
          <p class="note">${row.figure.label}, ${DIRECTION[row.figure.better]}</p>
          ${plot(barChart(row, `${titleOf(row)}, ${row.figure.label}`, peers))}
        </article>`,
    ),
  );
  if (charts.length === 0) return html`<p class="note">Nothing was measured.</p>`;
  const runs = Math.max(...result.runs.map(({ run }) => run), 0);
  const limited = result.runs.some((run) => run.limited === "client");
  return html`<section class="overview">
    <p class="note">
      Medians of ${runs === 1 ? "1 run" : `${runs} interleaved runs`} and, as a line, least to most. In
      brackets the ratio to ${result.reference}: the median of the quotients run by run.
      ${limited ? "≥ where the load generator was the limit in some of them." : undefined}
    </p>
    <div class="cards">${charts}</div>
  </section>`;
}

/** What a reader must know before believing any figure. */
export function warnings(result: BenchResult): Html {
  const limited = new Map<string, { runs: number; of: number }>();
  const problems = new Map<string, string[]>();
  for (const run of result.runs) {
    const name = `${titleOf(run)}, ${run.peer}`;
    const count = limited.get(name) ?? { runs: 0, of: 0 };
    limited.set(name, count);
    count.of++;
    if (run.limited === "client") count.runs++;
    for (const problem of run.problems) {
      const key = `${name}: ${problem}`;
      problems.set(key, [...(problems.get(key) ?? []), String(run.run)]);
    }
  }
  const byClient = Array.from(limited).filter(([, { runs }]) => runs > 0);
  return html`${list(
    "The client was the limit",
    "The load generator used its cores up before the server did: these servers could do more than the figures say.",
    byClient.map(([name, { runs, of }]) => `${name}: in ${runs} of ${of} runs`),
  )}
  ${list(
    "Problems",
    "",
    Array.from(problems, ([problem, runs]) => `${problem} (run ${runs.join(", ")})`),
  )}
  ${list("Not run", "", result.skipped)}`;
}

function list(title: string, note: string, items: readonly string[]): Html {
  if (items.length === 0) return html``;
  return html`<section class="warning">
    <h2>${title}</h2>
    ${note === "" ? undefined : html`<p>${note}</p>`}
    <ul>
      ${items.map((item) => html`<li>${item}</li>`)}
    </ul>
  </section>`;
}

export function caseSections(
  result: BenchResult,
  cases: readonly Case[],
  peers: readonly string[],
  plot: Plot,
): Html {
  const sections = cases.map((each) => {
    const there = peers.filter(
      (peer) =>
        each.runs.some((run) => run.peer === peer) ||
        each.rows.some((row) => cellOf(row, peer) !== undefined),
    );
    const shown = headlines(each);
    const bars = each.rows
      .filter(({ figure }) => figure.better !== "neither" && !isLatency(figure))
      .filter(({ peers: cells }) => cells.some(({ max }) => max !== 0));
    const charts = [
      ...bars.map((row) => ({ note: row.figure.label, chart: barChart(row, row.figure.label, there) })),
      {
        note: "latency by percentile; the band is least to most of the runs",
        chart: latencyChart(each, there),
      },
      { note: "deliveries over time, of the run in the middle", chart: deliveriesChart(each, there) },
      { note: "memory of the servers, of the run in the middle", chart: memoryChart(each, there) },
    ];
    return html`<section class="case">
      <h2>${titleOf(each)}</h2>
      <div class="cards">
        ${charts.map(({ note, chart }) =>
          chart === undefined
            ? undefined
            : html`<article class="card${chart.kind === "bars" ? "" : " wide"}">
                <p class="note">
                  ${note}${chart.kind === "bars" ? html`, ${DIRECTION[chart.better]}` : undefined}
                </p>
                ${plot(chart)}
              </article>`,
        )}
      </div>
      ${shown.length === 0 && each.rows.length === 0 ? undefined : table(result, each.rows, there)}
    </section>`;
  });
  return html`${sections}`;
}

/** Drawn as a curve, and in the table. */
const isLatency = ({ name, unit }: SummaryRow["figure"]): boolean =>
  unit === "us" && /^p\d|latency/i.test(name);

const cellOf = (row: SummaryRow, peer: string): SummaryCell | undefined =>
  row.peers.find((cell) => cell.peer === peer);

function table(result: BenchResult, rows: readonly SummaryRow[], peers: readonly string[]): Html {
  return html`<div class="scroll">
    <table>
      <caption>
        median; least to most; ratio to ${result.reference} (least to most)
      </caption>
      <thead>
        <tr>
          <th scope="col">figure</th>
          ${peers.map((peer) => html`<th scope="col">${peer}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              <th scope="row">
                ${row.figure.label}
                ${
                  row.figure.better === "neither"
                    ? undefined
                    : html`<small>${DIRECTION[row.figure.better]}</small>`
                }
              </th>
              ${peers.map((peer) => cell(cellOf(row, peer), row.figure.unit))}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function cell(value: SummaryCell | undefined, unit: string): Html {
  if (value === undefined) return html`<td class="none">-</td>`;
  const { median, min, max, runs, ratio, clientLimitedRuns } = value;
  return html`<td>
    <b>${formatValue(median, unit)}</b>
    ${min < max ? html`<small>${formatValue(min, unit)} – ${formatValue(max, unit)}</small>` : undefined}
    ${
      ratio === undefined
        ? undefined
        : html`<small
            >× ${formatNumber(ratio.median)} (${formatNumber(ratio.min)}–${formatNumber(ratio.max)})</small
          >`
    }
    ${
      clientLimitedRuns === 0
        ? undefined
        : html`<small class="limited">client was the limit: ${clientLimitedRuns} of ${runs}</small>`
    }
  </td>`;
}

export function machineSection(result: BenchResult): Html {
  const { machine } = result;
  return html`<section>
    <h2>How it was measured</h2>
    <dl>
      ${pair("Command", html`<code>${result.command}</code>`)}
      ${pair("Time", `${result.startedAt} to ${result.finishedAt}`)}
      ${pair("Machine", `${machine.cpu}, ${machine.cores} cores, ${formatValue(machine.memoryBytes, "bytes")}`)}
      ${pair("System", `${machine.os}, Node ${machine.node}`)} ${pair("Placement", machine.placement)}
      ${pair("Reference", result.reference)} ${pair("Versions", pairs(result.versions))}
      ${pair("Options", pairs(result.options))}
      ${
        result.profiles.length === 0
          ? undefined
          : pair("CPU profiles", html`${result.profiles.map((path) => html`<code>${path}</code> `)}`)
      }
    </dl>
  </section>`;
}

const pair = (name: string, value: string | Html): Html =>
  html`<dt>${name}</dt>
    <dd>${value}</dd>`;

const pairs = (values: Readonly<Record<string, string | number | boolean>>): Html =>
  html`${Object.entries(values).map(([name, value]) => html`<span class="pair">${name} <b>${String(value)}</b></span> `)}`;

export function runsSection(result: BenchResult): Html {
  const shareOf = (share: number): string => formatValue(share * 100, "%");
  return html`<section>
    <details>
      <summary>All ${result.runs.length} runs</summary>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              ${[
                ...[
                  "case",
                  "run",
                  "peer",
                  "protocol",
                  "began",
                  "seconds",
                  "busiest server",
                  "busiest client",
                ],
                ...["limit", "figures", "problems"],
              ].map((name) => html`<th scope="col">${name}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${result.runs.map(
              (run) =>
                html`<tr>
                  <td>${titleOf(run)}</td>
                  <td>${run.run}</td>
                  <td>${run.peer}</td>
                  <td>${run.protocol}</td>
                  <td>${run.startedAt}</td>
                  <td>${formatNumber(run.cpu.wallSeconds)}</td>
                  <td>${shareOf(run.cpu.busiestServer)}</td>
                  <td>${shareOf(run.cpu.busiestClient)}</td>
                  <td>${run.limited}</td>
                  <td class="figures">
                    ${run.figures.map(
                      ({ label, value, unit }) =>
                        html`<span class="pair">${label} <b>${formatValue(value, unit)}</b></span> `,
                    )}
                  </td>
                  <td>${run.problems.join("; ")}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>
  </section>`;
}
