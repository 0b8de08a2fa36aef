/** Peers side by side: a bar each, its spread, and the median in words. */

import { Chart, type ChartConfiguration, type Plugin } from "chart.js";
import type { Bar, BarChart } from "./charts.js";
import { formatNumber, formatValue } from "./format.js";
import type { Theme } from "./page-theme.js";

const WHISKER = 4;
const LABEL_GAP = 8;
/** In the space that is left of the bars. */
const NAME_CHARACTERS = 20;

const labelOf = ({ median, ratio, atLeast }: Bar, unit: string): string =>
  (atLeast ? "≥ " : "") +
  formatValue(median, unit) +
  (ratio === undefined ? "" : ` (${formatNumber(ratio)}×)`);

const labelFont = (): string => `600 12px ${Chart.defaults.font.family}`;

/** What the longest label takes: any of them may stand behind the longest bar. */
function labelSpace({ bars, unit }: BarChart): number {
  const context = document.createElement("canvas").getContext("2d")!;
  context.font = labelFont();
  return 2 * LABEL_GAP + Math.max(...bars.map((bar) => context.measureText(labelOf(bar, unit)).width));
}

/** The spread over the runs, and the median in words, on each bar. */
const barNotes = ({ bars, unit }: BarChart, colors: Theme): Plugin<"bar"> => ({
  id: "notes",
  afterDatasetsDraw({ ctx, scales }) {
    const { x, y } = scales;
    if (x === undefined || y === undefined) return;
    ctx.save();
    ctx.lineWidth = 1.5;
    ctx.font = labelFont();
    ctx.textBaseline = "middle";
    ctx.strokeStyle = colors.text;
    ctx.fillStyle = colors.text;
    for (const [at, bar] of bars.entries()) {
      const middle = y.getPixelForValue(at);
      const from = x.getPixelForValue(bar.min);
      const to = x.getPixelForValue(bar.max);
      if (to - from > 1) {
        ctx.beginPath();
        ctx.moveTo(from, middle);
        ctx.lineTo(to, middle);
        for (const end of [from, to]) {
          ctx.moveTo(end, middle - WHISKER);
          ctx.lineTo(end, middle + WHISKER);
        }
        ctx.stroke();
      }
      ctx.fillText(labelOf(bar, unit), Math.max(to, x.getPixelForValue(bar.median)) + LABEL_GAP, middle);
    }
    ctx.restore();
  },
});

/** An attached server is named by its URL: what tells two apart is at its ends. */
const shortened = (name: string): string =>
  name.length <= NAME_CHARACTERS ? name : `${name.slice(0, 9)}…${name.slice(10 - NAME_CHARACTERS)}`;

export function barsConfiguration(chart: BarChart, colors: Theme): ChartConfiguration {
  const { bars, unit } = chart;
  const configuration: ChartConfiguration<"bar", number[], string> = {
    type: "bar",
    data: {
      labels: bars.map(({ peer }) => shortened(peer)),
      datasets: [
        {
          data: bars.map(({ median }) => median),
          backgroundColor: bars.map(({ peer }) => colors.peer(peer)),
          borderRadius: 3,
          barThickness: 15,
        },
      ],
    },
    options: {
      indexAxis: "y",
      animation: false,
      maintainAspectRatio: false,
      layout: { padding: { right: labelSpace(chart) } },
      scales: {
        x: {
          display: false,
          // The whiskers too have to find room.
          suggestedMin: Math.min(0, ...bars.map(({ min }) => min)),
          max: Math.max(...bars.map(({ max }) => max), Number.MIN_VALUE),
        },
        y: {
          grid: { display: false },
          border: { display: false },
          ticks: { color: colors.text, autoSkip: false },
        },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          callbacks: {
            label: ({ dataIndex }) => {
              const { median, min, max } = bars[dataIndex]!;
              return `${formatValue(median, unit)} (${formatValue(min, unit)} to ${formatValue(max, unit)})`;
            },
          },
        },
      },
    },
    plugins: [barNotes(chart, colors)],
  };
  return configuration;
}
