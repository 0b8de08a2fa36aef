// Takes docs/demo.png anew: a conversation over two nodes, one of which dies in the middle of it, and nothing is missed.
// Needs a built dist/, redis-server and chromium: npm run build && node scripts/screenshot.mjs [FILE]

import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { register } from "tsx/esm/api";

register();
const root = dirname(import.meta.dirname);
const { startBrowser } = await import("../test/support/browser.ts");
const { startRedis } = await import("../test/support/redis-server.ts");
const { startTcpProxy } = await import("../test/support/tcp-proxy.ts");
const { startBuiltNode } = await import("../test/e2e/built-node.ts");

const FILE = process.argv[2] ?? join(root, "docs/demo.png");
const LIMIT_BYTES = 400_000;
/** The page measures the round trip every 5 s: some bars make it a picture. */
const MEASURE_MS = 16_000;
const WINDOW = { viewport: { width: 1280, height: 800 } };

const ends = [];
const begun = async (starting, end) => {
  const started = await starting;
  ends.unshift(() => end(started));
  return started;
};

try {
  const redis = await begun(startRedis(), (it) => it.stop());
  const serve = (id) =>
    begun(startBuiltNode({ id, redisUrl: redis.url, args: ["--lease-ttl-ms", "1500"] }), (it) => it.kill());
  const first = await serve("node-1");
  const second = await serve("node-2");
  const proxy = await begun(startTcpProxy(first.port), (it) => it.close());
  const browser = await begun(startBrowser(), (it) => it.close());

  const enter = async (url, name, options = {}) => {
    const { page } = await browser.open(url, { ...WINDOW, ...options });
    await page.click("#me");
    await page.fill("#hello-name", name);
    await page.press("#hello-name", "Enter");
    await stateOf(page, "Connected");
    return {
      page,
      // Until everyone else who is there has it: so the order in the picture is the one below.
      async say(text, hearers = [ada, grace, linus]) {
        await page.fill("#draft", text);
        await page.press("#draft", "Enter");
        await Promise.all(hearers.map((other) => other.page.waitForSelector(`.words >> text=${text}`)));
      },
    };
  };
  const grace = await enter(second.demoUrl, "Grace Holm");
  const linus = await enter(second.demoUrl, "Linus Park");

  await grace.say("Morning! Anyone on node-1 yet?", [grace, linus]);
  const ada = await enter(`http://127.0.0.1:${proxy.port}/`, "Ada Byrd", { deviceScaleFactor: 2 });
  await ada.page.fill("#join-name", "chat:murmuration");
  await ada.page.press("#join-name", "Enter");
  await ada.page.click(".room >> text=chat:lobby");
  await ada.say("I am, as of now. And I'm about to kill -9 it, watch this");
  await first.kill("SIGKILL");
  await ada.page.waitForSelector(".link:not([data-state=connected])");
  await grace.say("Ada? Your node is gone.", [grace, linus]);
  await linus.say("She won't see that.", [grace, linus]);
  proxy.retarget(second.port);
  await stateOf(ada.page, "Resumed");
  await ada.page.waitForSelector(".words >> text=see that");
  await ada.say("I do: both messages, and I did nothing for it.");
  await linus.page.fill("#join-name", "chat:murmuration");
  await linus.page.press("#join-name", "Enter");
  await linus.page.fill("#draft", "Anyone here?");
  await linus.page.press("#draft", "Enter");
  await ada.page.waitForSelector(".room-unread >> text=1");
  await ada.page.waitForTimeout(MEASURE_MS);
  await ada.page.screenshot({ path: FILE });
} finally {
  for (const end of ends) await end();
}
const { size } = statSync(FILE);
console.log(`${FILE}: ${size} bytes`);
if (size > LIMIT_BYTES)
  throw new Error(`${FILE} has ${size} bytes: at most ${LIMIT_BYTES} are meant for the README`);

function stateOf(page, text) {
  return page.waitForFunction((wanted) => document.querySelector("#state")?.textContent === wanted, text);
}
