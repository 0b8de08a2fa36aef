// Takes docs/demo.png anew: a conversation over two nodes, one of which dies in the middle of it.
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
    await page.fill("#hello-name", name);
    await page.press("#hello-name", "Enter");
    await stateOf(page, "Connected");
    return {
      page,
      // Until everyone has it: so the order in the picture is the one below.
      async say(text) {
        await page.fill("#draft", text);
        await page.press("#draft", "Enter");
        await Promise.all(
          [ada, grace, linus].map((other) => other.page.waitForSelector(`.words >> text=${text}`)),
        );
      },
    };
  };
  const ada = await enter(`http://127.0.0.1:${proxy.port}/`, "Ada Byrd", { deviceScaleFactor: 2 });
  const grace = await enter(second.demoUrl, "Grace Holm");
  const linus = await enter(second.demoUrl, "Linus Park");

  await ada.page.fill("#join-name", "chat:murmuration");
  await ada.page.press("#join-name", "Enter");
  await ada.page.click(".room >> text=chat:lobby");
  await ada.say("Morning! I came in through node-1. Where are you two?");
  await grace.say("Both on node-2, and I can hear you fine.");
  await linus.say("Same here.");
  await ada.say("Good. I'm about to kill -9 my node, watch this");
  await first.kill("SIGKILL");
  proxy.retarget(second.port);
  await stateOf(ada.page, "Resumed");
  await grace.say("Your name says node-2 now. Did you have to join again?");
  await ada.say("No, the session came along by itself.");
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
