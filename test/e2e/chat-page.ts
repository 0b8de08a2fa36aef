/** The demo page as a person uses it. */

import { expect } from "vitest";
import type { TestBrowser, OpenOptions, TestPage } from "../support/browser.js";

export interface Shown {
  /** "You" where it is the page's own. */
  readonly name: string;
  readonly node: string;
  readonly text: string;
  readonly fate: string;
  /** What stands below it. */
  readonly note: string;
}

export interface ChatPage extends TestPage {
  say(text: string): Promise<void>;
  messages(): Promise<Shown[]>;
  notes(): Promise<string[]>;
  /** Messages and lines between them, from top to bottom. */
  lines(): Promise<string[]>;
  /** Who is said to be here, oneself with "(you)"; undefined where nobody is. */
  people(): Promise<string[] | undefined>;
  /** The text of an element that is there. */
  text(selector: string): Promise<string>;
  /** Everything that the state has read, oldest first. */
  states(): Promise<string[]>;
}

declare global {
  interface Window {
    seenStates?: string[];
  }
}

/** Long enough for backoff after several failures. */
export const DEADLINE = { timeout: 20_000, interval: 50 };

/** Opens the page, as a guest. */
export async function openChat(browser: TestBrowser, url: string, options?: OpenOptions): Promise<ChatPage> {
  const opened = await browser.open(url, options);
  const { page } = opened;
  await page.evaluate(() => {
    const state = document.querySelector("#state")!;
    const seen = (window.seenStates = [state.textContent]);
    new MutationObserver(() => {
      if (seen.at(-1) !== state.textContent) seen.push(state.textContent);
    }).observe(state, { childList: true, characterData: true, subtree: true });
  });
  return {
    ...opened,
    async say(text) {
      await page.fill("#draft", text);
      await page.press("#draft", "Enter");
    },
    messages: () =>
      page.$$eval(".message", (elements) => {
        let block = { name: "", node: "" };
        return elements.map((element) => {
          const of = (selector: string): string => element.querySelector(selector)?.textContent ?? "";
          // Messages of one block stand under one name.
          if (!element.hasAttribute("data-joined")) block = { name: of(".name"), node: of(".via") };
          const fate = element.getAttribute("data-fate") ?? "";
          return { ...block, text: of(".words"), fate, note: of(".fate") };
        });
      }),
    notes: () => page.$$eval(".note", (notes) => notes.map((note) => note.textContent)),
    lines: () =>
      page.$$eval(".message, .note", (elements) =>
        elements.map((element) => (element.querySelector(".words") ?? element).textContent),
      ),
    people: () =>
      page.evaluate(() => {
        if (document.querySelector("#here")?.hasAttribute("hidden") !== false) return undefined;
        return Array.from(document.querySelectorAll("#people-list li"), (row) => {
          const own = row.querySelector(".person-own") === null ? "" : " (you)";
          return (row.querySelector(".person")?.textContent ?? "") + own;
        });
      }),
    text: async (selector) => (await page.textContent(selector)) ?? "",
    states: () => page.evaluate(() => window.seenStates ?? []),
  };
}

/** Opens the page, gives a name and waits until the page is connected. */
export async function enterChat(
  browser: TestBrowser,
  url: string,
  name: string,
  options?: OpenOptions,
): Promise<ChatPage> {
  const chat = await openChat(browser, url, options);
  await chat.page.click("#me");
  await chat.page.fill("#hello-name", name);
  await chat.page.press("#hello-name", "Enter");
  await expect.poll(() => chat.text("#state"), DEADLINE).toBe("Connected");
  return chat;
}
