/** A headless Chromium with a profile of its own, and pages that remember what went wrong in them. */

import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";

export interface OpenOptions extends BrowserContextOptions {
  /** Runs in the page before its own scripts. */
  readonly first?: () => void;
}

export interface TestBrowser {
  /** Each in a context of its own: nothing is shared, as between two people. */
  open(url: string, options?: OpenOptions): Promise<TestPage>;
  close(): Promise<void>;
}

export interface TestPage {
  readonly page: Page;
  /** Uncaught exceptions, and what the content policy refused. */
  readonly faults: string[];
}

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--no-proxy-server",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const ACTION_TIMEOUT_MS = 30_000;

export async function startBrowser(): Promise<TestBrowser> {
  const browser: Browser = await chromium.launch({
    executablePath: process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium",
    headless: true,
    args: ARGS,
  });
  return {
    async open(url, { first, ...options } = {}) {
      const context = await browser.newContext({ locale: "en-GB", ...options });
      context.setDefaultTimeout(ACTION_TIMEOUT_MS);
      const page = await context.newPage();
      if (first !== undefined) await page.addInitScript(first);
      const faults: string[] = [];
      page.on("pageerror", (error) => faults.push(String(error)));
      page.on("console", (message) => {
        if (/Content Security Policy/i.test(message.text())) faults.push(message.text());
      });
      await page.goto(url);
      return { page, faults };
    },
    close: () => browser.close(),
  };
}
