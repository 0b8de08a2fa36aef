/** The report's head as a picture for the README: `npx tsx bench/report/picture.ts REPORT.html docs/bench.png`. */

import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const WIDTH = 1280;
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--no-proxy-server",
  "--disable-background-networking",
];

export interface PictureOptions {
  /** `light` where absent. */
  readonly colors?: "light" | "dark";
  /** The whole report instead of its head. */
  readonly whole?: boolean;
  /** `CHROMIUM_PATH`, or /usr/bin/chromium, where absent. */
  readonly chromiumPath?: string;
}

/** @throws Error if the page does not draw itself, with what went wrong in it */
export async function writePicture(
  htmlPath: string,
  pngPath: string,
  options: PictureOptions = {},
): Promise<void> {
  const { colors = "light", whole = false } = options;
  const browser = await chromium.launch({
    executablePath: options.chromiumPath ?? process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium",
    headless: true,
    args: ARGUMENTS,
  });
  try {
    const page = await browser.newPage({
      viewport: { width: WIDTH, height: 900 },
      deviceScaleFactor: whole ? 1 : 2,
      colorScheme: colors,
      // It opens offline, or it is not what it promises to be.
      offline: true,
    });
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") faults.push(message.text());
    });
    await page.goto(pathToFileURL(resolve(htmlPath)).href);
    const drawn = await page.locator("html[data-drawn]").count();
    if (drawn === 0 || faults.length > 0)
      throw new Error(`${htmlPath} did not draw itself: ${faults.join("; ")}`);
    if (whole) await page.screenshot({ path: pngPath, fullPage: true });
    else await page.locator(".picture").screenshot({ path: pngPath });
  } finally {
    await browser.close();
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [html, png = "docs/bench.png"] = process.argv.slice(2);
  if (html === undefined)
    throw new Error("which report? npx tsx bench/report/picture.ts REPORT.html [PICTURE.png]");
  await writePicture(html, png);
  console.log(`${png}: ${(await stat(png)).size} bytes`);
}
