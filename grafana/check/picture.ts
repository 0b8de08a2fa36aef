/**
 * A picture of the main dashboard from what Prometheus answers, drawn with Chart.js in Chromium. It is not
 * Grafana's own rendering: places, units, thresholds and legends are the dashboard's, the look is ours.
 */

import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { startBrowser } from "../../test/support/browser.js";
import { range, type Series, type Span } from "./evaluate.js";
import { filledIn, type Target } from "./queries.js";
import type { Phase } from "./verify.js";

interface PanelJson {
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly Target[];
}

interface Line {
  readonly name: string;
  readonly points: Series["points"];
}

export interface PictureOptions {
  readonly span: Span;
  readonly phases: readonly Phase[];
  readonly rateInterval: string;
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const WIDTH = 1680;

/** @returns the file's size in bytes */
export async function drawDashboard(
  file: string,
  prometheusUrl: string,
  options: PictureOptions,
): Promise<number> {
  const { span, phases, rateInterval } = options;
  const { title, panels } = JSON.parse(readFileSync(here("../dashboards/starling.json"), "utf8")) as {
    title: string;
    panels: PanelJson[];
  };
  const drawn: (PanelJson & { readonly lines: readonly Line[] })[] = [];
  for (const panel of panels) {
    const lines: Line[] = [];
    for (const { expr, legendFormat } of panel.targets ?? []) {
      for (const { metric, points } of await range(prometheusUrl, filledIn(expr, rateInterval), span)) {
        lines.push({ name: named(legendFormat, metric), points });
      }
    }
    drawn.push({ ...panel, lines });
  }
  const chartJs = join(dirname(createRequire(import.meta.url).resolve("chart.js")), "chart.umd.min.js");
  const page = readFileSync(here("./picture.html"), "utf8")
    // Functions, as "$&" in a library's text is not to be taken for a pattern.
    .replace("/* CHART_JS */", () => readFileSync(chartJs, "utf8"))
    .replace("/* DATA */", () =>
      JSON.stringify({ title, panels: drawn, span, phases }).replaceAll("<", "\\u003c"),
    );
  const browser = await startBrowser();
  try {
    const { page: tab, faults } = await browser.open("about:blank", {
      viewport: { width: WIDTH, height: 900 },
    });
    await tab.setContent(page);
    await tab.waitForFunction("document.body.dataset.drawn === 'yes'");
    if (faults.length > 0) throw new Error(`the picture's page failed: ${faults.join("; ")}`);
    await tab.screenshot({ path: file, fullPage: true });
  } finally {
    await browser.close();
  }
  return statSync(file).size;
}

/** As Grafana does it: `{{instance}} ready`. */
function named(legend: string, labels: Readonly<Record<string, string>>): string {
  return legend.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? "");
}
