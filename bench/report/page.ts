/** Runs in the reader's browser: draws what report.ts computed, and again when the colours turn. */

import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  Filler,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  LogarithmicScale,
  PointElement,
  Tooltip,
  type ChartConfiguration,
} from "chart.js";
import type { Chart as ChartData } from "./charts.js";
import { barsConfiguration } from "./page-bars.js";
import { curveConfiguration, latencyConfiguration } from "./page-lines.js";
import { readTheme, type Theme } from "./page-theme.js";

Chart.register(
  BarController,
  BarElement,
  CategoryScale,
  Filler,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  LogarithmicScale,
  PointElement,
  Tooltip,
);

interface PageData {
  readonly peers: readonly string[];
  readonly charts: readonly ChartData[];
}

const BAR_HEIGHT = 26;
const CURVE_HEIGHT = 300;
const data = JSON.parse(document.getElementById("data")!.textContent) as PageData;
const drawn: Chart[] = [];

function configurationOf(chart: ChartData, colors: Theme): ChartConfiguration {
  switch (chart.kind) {
    case "bars":
      return barsConfiguration(chart, colors);
    case "latency":
      return latencyConfiguration(chart, colors);
    case "curve":
      return curveConfiguration(chart, colors);
  }
}

function draw(): void {
  for (const chart of drawn.splice(0)) chart.destroy();
  const colors = readTheme(data.peers);
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  for (const figure of document.querySelectorAll<HTMLElement>("figure[data-chart]")) {
    const chart = data.charts[Number(figure.dataset["chart"])]!;
    // Without a canvas of fixed height Chart.js grows with its parent, and its parent with it.
    figure.style.height = `${chart.kind === "bars" ? chart.bars.length * BAR_HEIGHT + 12 : CURVE_HEIGHT}px`;
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${chart.title}; the table has the numbers`);
    figure.replaceChildren(canvas);
    drawn.push(new Chart(canvas, configurationOf(chart, colors)));
  }
  document.documentElement.dataset["drawn"] = String(drawn.length);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
