import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { BenchResult } from "../types.js";
import { casesOf, peersOf, type Chart } from "./charts.js";
import { Html, html, scriptJson } from "./html.js";
import { caseSections, machineSection, overview, runsSection, warnings } from "./sections.js";

const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Writes one HTML file that opens without a network: Chart.js, the style and the numbers are within. */
export async function writeReport(result: BenchResult, path: string): Promise<void> {
  await writeFile(path, await renderReport(result));
}

export async function renderReport(result: BenchResult): Promise<string> {
  const [style, script] = await Promise.all([readFile(pathOf("style.css"), "utf8"), bundlePage()]);
  const peers = peersOf(result);
  const cases = casesOf(result);
  const charts: Chart[] = [];
  const plot = (chart: Chart): Html => {
    charts.push(chart);
    return html`<figure data-chart="${charts.length - 1}"></figure>`;
  };
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; script-src '${sourceOf(script)}'; style-src '${sourceOf(style)}'"
        />
        <title>Starling bench, ${dayOf(result.startedAt)}</title>
        ${new Html(`<style>${style}</style>`)}
      </head>
      <body>
        <div class="picture">
          <header>
            <h1>Starling bench</h1>
            <p class="lead">
              ${result.machine.cpu}, ${result.machine.cores} cores, Node ${result.machine.node},
              ${dayOf(result.startedAt)}
            </p>
            <pre class="command"><code>${result.command}</code></pre>
          </header>
          ${overview(result, cases, peers, plot)}
        </div>
        <main>
          ${warnings(result)} ${caseSections(result, cases, peers, plot)} ${machineSection(result)}
          ${runsSection(result)}
        </main>
        <script type="application/json" id="data">
          ${scriptJson({ peers, charts })}
        </script>
        ${new Html(`<script>${script}</script>`)}
      </body>
    </html>`;
  return page.text;
}

/** Content Security Policy: only this very text may run. */
const sourceOf = (text: string): string => `sha256-${createHash("sha256").update(text).digest("base64")}`;

const dayOf = (time: string): string => time.slice(0, 10);

async function bundlePage(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [pathOf("page.ts")],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    legalComments: "none",
    logLevel: "silent",
  });
  const [file] = outputFiles;
  // Chart.js has none today; one would end the script element early.
  if (file === undefined || /<\/script|<!--/i.test(file.text)) {
    throw new Error("the page's script cannot stand within HTML: it has </script or <!--");
  }
  return file.text;
}
