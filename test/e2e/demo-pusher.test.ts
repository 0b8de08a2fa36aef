/** The demo page that pusher-js runs in, as people use it, beside the one of Starling's own client. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import Pusher from "pusher";
import { startBrowser, type OpenOptions, type TestBrowser, type TestPage } from "../support/browser.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { startBuiltNode, type BuiltNode, type BuiltNodeOptions } from "./built-node.js";
import { DEADLINE, enterChat } from "./chat-page.js";

let browser: TestBrowser;
beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser.close());

const cleanups: (() => unknown)[] = [];
const faultsOf: string[][] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  // No script of a page may throw or offend against its content policy.
  expect(faultsOf.splice(0).flat()).toEqual([]);
});

async function node(options: Partial<BuiltNodeOptions> = {}): Promise<BuiltNode> {
  const started = await startBuiltNode({ id: "alone", ...options });
  cleanups.push(() => started.kill());
  return started;
}

interface PusherPage extends TestPage {
  say(text: string): Promise<void>;
  text(selector: string): Promise<string>;
  /** Who said what, from top to bottom. */
  messages(): Promise<string[]>;
  /** Oneself first, with "(you)". */
  people(): Promise<string[]>;
}

async function open(url: string, name: string, options?: OpenOptions): Promise<PusherPage> {
  const opened = await browser.open(url, options);
  const { page, faults } = opened;
  faultsOf.push(faults);
  cleanups.push(() => page.context().close());
  const text = async (selector: string): Promise<string> => (await page.textContent(selector)) ?? "";
  await expect.poll(() => text("#state"), DEADLINE).toBe("Connected");
  await page.click("#me");
  await page.fill("#hello-name", name);
  await page.press("#hello-name", "Enter");
  const people = (): Promise<string[]> =>
    page.$$eval("#people-list li", (rows) =>
      rows.map((row) => {
        const own = row.querySelector(".person-own") === null ? "" : " (you)";
        return (row.querySelector(".person")?.textContent ?? "") + own;
      }),
    );
  await expect.poll(people, DEADLINE).toContain(`${name} (you)`);
  return {
    ...opened,
    text,
    people,
    async say(words) {
      await page.fill("#draft", words);
      await page.press("#draft", "Enter");
    },
    messages: () =>
      page.$$eval(".message", (elements) =>
        elements.map((element) => {
          const of = (selector: string): string => element.querySelector(selector)?.textContent ?? "";
          return `${of(".name")}: ${of(".words")}`;
        }),
      ),
  };
}

const pageOf = ({ output }: BuiltNode): string => /^pusher-js +(\S+)$/m.exec(output)?.[1] ?? "none";

describe("the page of pusher-js", () => {
  it("chats with another of its kind and with Starling's own client, in the same channel", async () => {
    const alone = await node();
    const url = pageOf(alone);
    const [ada, bob] = [await open(url, "Ada"), await open(url, "Bob")];
    const native = await enterChat(browser, `${alone.demoUrl}?channel=lobby`, "Nell");
    faultsOf.push(native.faults);
    cleanups.push(() => native.page.context().close());

    await ada.say("from pusher-js");
    await expect.poll(() => bob.messages(), DEADLINE).toEqual(["Ada: from pusher-js"]);
    await expect
      .poll(() => native.messages(), DEADLINE)
      .toMatchObject([{ name: "Ada", text: "from pusher-js", fate: "sent" }]);
    await native.say("from Starling's own");
    await expect
      .poll(() => bob.messages(), DEADLINE)
      .toEqual(["Ada: from pusher-js", "Nell: from Starling's own"]);
    await expect
      .poll(() => ada.messages(), DEADLINE)
      .toEqual(["You: from pusher-js", "Nell: from Starling's own"]);
    expect(await ada.text("#count")).toBe("2 messages");
    expect(
      await ada.page.$$eval(".message", (all) => all.map((one) => one.getAttribute("data-fate"))),
    ).toEqual(["sent", "sent"]);
  });

  it("shows who is here, by the name that one has, and who is typing", async () => {
    const url = pageOf(await node());
    const [ada, bob] = [await open(url, "Ada"), await open(url, "Bob")];
    await expect.poll(() => ada.people(), DEADLINE).toEqual(["Ada (you)", "Bob"]);
    await expect.poll(() => bob.people(), DEADLINE).toEqual(["Bob (you)", "Ada"]);
    await bob.page.locator("#draft").pressSequentially("hm");
    await expect.poll(() => ada.text("#hint"), DEADLINE).toBe("Bob is typing…");
    await bob.say("hm, yes");
    await expect.poll(() => ada.messages(), DEADLINE).toEqual(["Bob: hm, yes"]);
    expect(await ada.text("#hint")).toMatch(/^Enter sends/);
    await bob.page.context().close();
    await expect.poll(() => ada.people(), DEADLINE).toEqual(["Ada (you)"]);
  });

  it("finds its way back to a node that was started again, says that nothing was kept, and goes on", async () => {
    const [before, after] = await Promise.all([node(), node()]);
    const proxy = await startTcpProxy(before.port);
    cleanups.push(() => proxy.close());
    const ada = await open(`http://127.0.0.1:${proxy.port}/pusher`, "Ada");
    proxy.retarget(after.port);
    await before.kill();
    const note = "Connected again: what was said meanwhile is not kept here";
    await expect
      .poll(() => ada.page.$$eval(".note", (notes) => notes.map((one) => one.textContent)), DEADLINE)
      .toEqual([note]);
    expect(await ada.text("#state")).toBe("Connected");
    await expect.poll(() => ada.people(), DEADLINE).toEqual(["Ada (you)"]);
    const bob = await open(pageOf(after), "Bob");
    await bob.say("hello again");
    await expect.poll(() => ada.messages(), DEADLINE).toEqual(["Bob: hello again"]);
  });

  it("says in words that its node stopped, and that nobody is typing then", async () => {
    const alone = await node({ args: ["--drain-ms", "100", "--drain-notice-ms", "0"] });
    const url = pageOf(alone);
    const [ada, bob] = [await open(url, "Ada"), await open(url, "Bob")];
    // Each hint that is shown from now on, and what the page said of its connection with it.
    await ada.page.evaluate(() => {
      const shown = { hints: [] as string[], reasons: [] as string[] };
      (window as unknown as { shown: typeof shown }).shown = shown;
      const [hint, why, link] = ["hint", "why", "link"].map((id) => document.getElementById(id)!);
      new MutationObserver(() => {
        if (link!.dataset["state"] === "connected") return;
        shown.hints.push(hint!.textContent);
        shown.reasons.push(why!.textContent);
      }).observe(document.body, { subtree: true, childList: true, attributes: true });
    });
    await bob.page.locator("#draft").pressSequentially("hm");
    await expect.poll(() => ada.text("#hint"), DEADLINE).toBe("Bob is typing…");
    await alone.kill("SIGTERM");
    await expect.poll(() => ada.text("#why"), DEADLINE).toBe("The node closed the connection: trying again");
    const { hints, reasons } = await ada.page.evaluate(
      () => (window as unknown as { shown: { hints: string[]; reasons: string[] } }).shown,
    );
    expect(hints.at(-1)).toMatch(/^Enter sends/);
    expect(hints.slice(1)).not.toContain("Bob is typing…");
    expect(reasons.join()).not.toContain("4200");
  });

  it("keeps what is written where the question for a name is cancelled", async () => {
    const { page } = await browser.open(pageOf(await node()));
    cleanups.push(() => page.context().close());
    await page.fill("#draft", "unsent");
    await page.press("#draft", "Enter");
    await page.click("text=Cancel");
    expect([await page.isVisible("#hello"), await page.inputValue("#draft")]).toEqual([false, "unsent"]);
  });

  it("says that a message did not reach the back end, and sends it again when asked to", async () => {
    const ada = await open(pageOf(await node()), "Ada");
    await ada.page.route("**/pusher/messages", (route) => route.abort());
    await ada.say("into nothing");
    await expect.poll(() => ada.text(".fate"), DEADLINE).toMatch(/^Not sent: .*Send again$/);
    await ada.page.unroute("**/pusher/messages");
    await ada.page.click("text=Send again");
    await expect.poll(() => ada.page.getAttribute(".message", "data-fate"), DEADLINE).toBe("sent");
    expect(await ada.messages()).toEqual(["You: into nothing"]);
  });

  it("shows what others send as text, never as markup, whatever it is", async () => {
    const alone = await node();
    const ada = await open(pageOf(alone), "Ada");
    const markup = `<img src=x onerror="window.hacked=1">`;
    for (const content of [markup, { name: markup, text: markup, id: "1" }, null, [1]]) {
      const publication = { channel: "lobby", content };
      const response = await fetch(`${alone.apiUrl}/v1/publish`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(publication),
      });
      expect(response.status).toBe(200);
    }
    await expect
      .poll(() => ada.messages(), DEADLINE)
      .toEqual([`the server: ${markup}`, `${markup}: ${markup}`, "the server: null", "the server: [1]"]);
    expect(await ada.page.evaluate(() => "hacked" in window)).toBe(false);
  });

  it("shows the code by which it connects, which is all that another page needs", async () => {
    const alone = await node();
    const ada = await open(pageOf(alone), "Ada");
    expect(await ada.text(".empty .sample")).toBe(
      [
        'new Pusher("starling-demo", {',
        '  cluster: "",',
        '  wsHost: "127.0.0.1",',
        `  wsPort: ${alone.port},`,
        "  forceTLS: false,",
        '  enabledTransports: ["ws","wss"],',
        "});",
      ].join("\n"),
    );
  });

  it("fits a phone: nothing is wider than its screen", async () => {
    const phone = { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true };
    const cy = await open(pageOf(await node()), "Cy", phone);
    await cy.say("w".repeat(200));
    await expect.poll(() => cy.messages(), DEADLINE).toHaveLength(1);
    expect(await cy.page.evaluate(() => document.documentElement.scrollWidth)).toBe(320);
  });
});

describe("the page is there", () => {
  it("with pusher-js and its licence, as it is published", async () => {
    const alone = await node();
    const script = await fetch(new URL("/pusher/pusher.min.js", alone.demoUrl));
    expect(script.headers.get("content-type")).toContain("javascript");
    expect(await script.text()).toContain("pusher.min.js.LICENSE.txt");
    const licence = await fetch(new URL("/pusher/pusher.min.js.LICENSE.txt", alone.demoUrl));
    expect(await licence.text()).toMatch(/^Copyright .* Pusher, Ltd.*Permission is hereby granted/s);
  });

  it.each([
    ["in production", { env: { NODE_ENV: "production" }, args: ["--allow-open", "--demo"] }],
    ["beyond this machine", { args: ["--host", "0.0.0.0"] }],
    ["where clients need tokens", { args: ["--jwt-secret", "a secret of the tests, 32 bytes long"] }],
    ["without the demo", { args: ["--no-demo"] }],
  ])("not %s, and nor is its key", async (_, options) => {
    const closed = await node(options);
    expect(pageOf(closed)).toBe("none");
    for (const path of ["/pusher", "/pusher/settings", "/pusher/pusher.min.js"])
      expect((await fetch(`http://127.0.0.1:${closed.port}${path}`)).status).toBe(404);
    const refused = await fetch(`http://127.0.0.1:${closed.port}/apps/main/channels`);
    expect([refused.status, await refused.text()]).toEqual([
      404,
      'there is no app "main" with keys on this node\n',
    ]);
  });

  it("not where an app is there for Pusher's clients: nothing signs for that", async () => {
    const pair = { key: "app-key", secret: "app-secret-of-the-tests" };
    const own = await node({ args: ["--app-key", pair.key, "--app-secret", pair.secret] });
    expect(pageOf(own)).toBe("none");
    const auth = await fetch(`http://127.0.0.1:${own.port}/pusher/auth`, {
      method: "POST",
      body: new URLSearchParams({ socket_id: "1.2", channel_name: "presence-lobby", user: "1" }),
    });
    expect(auth.status).toBe(400);
    const sdk = new Pusher({
      appId: "main",
      ...pair,
      host: "127.0.0.1",
      port: String(own.port),
      useTLS: false,
    });
    expect((await sdk.get({ path: "/channels" })).status).toBe(200);
  });
});
