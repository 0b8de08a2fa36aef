/** Curves: latency by percentile, and what changes over a run. */

import type { ChartConfiguration } from "chart.js";
import { percentileOf, type CurveChart, type LatencyChart } from "./charts.js";
import { formatNumber, formatValue } from "./format.js";
import type { Theme } from "./page-theme.js";

const BAND_ALPHA = "22";
const PERCENTILES: ReadonlyMap<number, string> = new Map([
  [0, "0"],
  [Math.log10(2), "50"],
  [1, "90"],
  [2, "99"],
  [3, "99.9"],
  [4, "99.99"],
  [5, "99.999"],
  [6, "99.9999"],
]);

interface Line {
  readonly label: string;
  readonly data: { x: number; y: number }[];
  readonly borderColor: string;
  readonly backgroundColor: string;
  readonly borderWidth: number;
  readonly pointRadius: number;
  readonly fill: string | false;
}

const lineOf = (label: string, color: string, points: readonly { x: number; y: number }[]): Line => ({
  label,
  data: [...points],
  borderColor: color,
  backgroundColor: color,
  borderWidth: 2,
  pointRadius: 0,
  fill: false,
});

/** An edge of a band: without a line and without an entry in the legend; the lower one fills up to the one before. */
const edgeOf = (color: string, points: readonly { x: number; y: number }[], fill: string | false): Line => ({
  ...lineOf("", "transparent", points),
  backgroundColor: color + BAND_ALPHA,
  borderWidth: 0,
  fill,
});

interface LinesOptions {
  readonly lines: readonly Line[];
  readonly xLabel: string;
  readonly yUnit: string;
  readonly logarithmic: boolean;
  /** Instead of those that are found: where, and what it says there. */
  readonly xTicks?: ReadonlyMap<number, string>;
  readonly xTitle: (x: number) => string;
}

function linesConfiguration(options: LinesOptions, colors: Theme): ChartConfiguration {
  const { lines, xLabel, yUnit, logarithmic, xTicks, xTitle } = options;
  const xEnd = Math.max(...lines.flatMap((line) => line.data.map(({ x }) => x)));
  const axis = { grid: { color: colors.line }, border: { display: false } };
  return {
    type: "line",
    data: { datasets: lines.map((line) => ({ ...line })) },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: {
        x: {
          type: "linear",
          ...axis,
          min: 0,
          max: xEnd,
          title: { display: true, text: xLabel, color: colors.muted },
          ticks: {
            color: colors.muted,
            maxRotation: 0,
            callback: (value) => xTicks?.get(Number(value)) ?? formatValue(Number(value), ""),
          },
          ...(xTicks !== undefined && {
            afterBuildTicks: (scale: { ticks: { value: number }[] }) => {
              scale.ticks = Array.from(xTicks.keys(), (value) => ({ value })).filter(
                ({ value }) => value <= xEnd,
              );
            },
          }),
        },
        y: {
          type: logarithmic ? "logarithmic" : "linear",
          ...axis,
          ...(logarithmic
            ? {
                afterBuildTicks: (scale: { ticks: { value: number }[]; min: number; max: number }) => {
                  scale.ticks = scale.ticks.filter(({ value }) => isLogTick(value, scale));
                },
              }
            : { beginAtZero: true }),
          ticks: {
            color: colors.muted,
            callback: (value) => formatValue(Number(value), yUnit),
          },
        },
      },
      plugins: {
        legend: {
          position: "bottom",
          labels: {
            color: colors.text,
            boxWidth: 14,
            boxHeight: 3,
            filter: ({ text }) => text !== "",
          },
        },
        tooltip: {
          filter: ({ dataset }) => dataset.label !== "",
          callbacks: {
            title: ([first]) => (first === undefined ? "" : xTitle(first.parsed.x ?? 0)),
            label: ({ dataset, parsed }) => `${dataset.label}: ${formatValue(parsed.y ?? 0, yUnit)}`,
          },
        },
      },
    },
  };
}

/** On a log axis the decades, and 2 and 5 of each where there are few: all of them would be a thicket. */
function isLogTick(value: number, scale: { readonly min: number; readonly max: number }): boolean {
  const digit = value / 10 ** Math.floor(Math.log10(value) + 1e-9);
  const digits = Math.log10(scale.max / scale.min) > 2.5 ? [1] : [1, 2, 5];
  return digits.some((each) => Math.abs(each - digit) < 1e-6);
}

export const latencyConfiguration = ({ lines }: LatencyChart, colors: Theme): ChartConfiguration =>
  linesConfiguration(
    {
      lines: lines.flatMap(({ peer, points }) => {
        const color = colors.peer(peer);
        return [
          lineOf(
            peer,
            color,
            points.map(([x, y]) => ({ x, y })),
          ),
          edgeOf(
            color,
            points.map(([x, , , y]) => ({ x, y })),
            false,
          ),
          edgeOf(
            color,
            points.map(([x, , y]) => ({ x, y })),
            "-1",
          ),
        ];
      }),
      xLabel: "percentile",
      yUnit: "us",
      logarithmic: true,
      xTicks: PERCENTILES,
      xTitle: (nines) => `${formatNumber(percentileOf(nines))} % and below`,
    },
    colors,
  );

export const curveConfiguration = (
  { lines, xLabel, xUnit, unit }: CurveChart,
  colors: Theme,
): ChartConfiguration =>
  linesConfiguration(
    {
      lines: lines.map(({ peer, points }) =>
        lineOf(
          peer,
          colors.peer(peer),
          points.map(([x, y]) => ({ x, y })),
        ),
      ),
      xLabel,
      yUnit: unit,
      logarithmic: false,
      xTitle: (x) => formatValue(x, xUnit),
    },
    colors,
  );
