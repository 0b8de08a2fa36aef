/** A page with unchanged pusher-js in Chromium, as an application of Pusher is: its back end signs what it subscribes to. */

import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { startBrowser } from "../support/browser.js";

export interface PusherPageOptions {
  /** Where its clients connect to. */
  readonly wsUrl: string;
  readonly key: string;
  readonly secret: string;
}

export interface PusherPage {
  /** Changes of whether it is connected and has all of its channels, oldest first; times as Date.now() has them. */
  changes(): Promise<readonly { readonly whole: boolean; readonly atMs: number }[]>;
  /** What it was told to be wrong. */
  troubles(): Promise<readonly string[]>;
  close(): Promise<void>;
}

interface Kept {
  readonly changes: { whole: boolean; atMs: number }[];
  readonly troubles: string[];
}
declare const kept: Kept;

const SCRIPT = fileURLToPath(import.meta.resolve("pusher-js/dist/web/pusher.js"));

const app = (key: string, host: string, port: string): string => `
globalThis.kept = { changes: [], troubles: [] };
const pusher = new Pusher(${JSON.stringify(key)}, {
  cluster: "", wsHost: ${JSON.stringify(host)}, wsPort: ${port}, forceTLS: false, enabledTransports: ["ws"],
  channelAuthorization: { endpoint: "/pusher/auth" },
});
const channels = ["room-0", "private-room", "presence-room"].map((name) => pusher.subscribe(name));
let whole = false;
const look = () => {
  const now = pusher.connection.state === "connected" && channels.every(({ subscribed }) => subscribed);
  if (now !== whole) kept.changes.push({ whole: (whole = now), atMs: Date.now() });
};
for (const channel of channels) {
  channel.bind("pusher:subscription_succeeded", () => queueMicrotask(look));
  channel.bind("pusher:subscription_error", (error) => kept.troubles.push(channel.name + ": " + JSON.stringify(error)));
}
pusher.connection.bind("state_change", look);
`;

export async function openPusherPage({ wsUrl, key, secret }: PusherPageOptions): Promise<PusherPage> {
  const { hostname, port } = new URL(wsUrl);
  const html = `<!doctype html><title>app</title><script src="/pusher.js"></script><script>${app(key, hostname, port)}</script>`;
  const site = createServer((request, response) => {
    if (request.url === "/pusher/auth") {
      void bodyOf(request).then((body) => {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify(signed(body, key, secret)));
      });
      return;
    }
    const isScript = request.url === "/pusher.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? readFileSync(SCRIPT) : html);
  });
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  const browser = await startBrowser();
  const close = async (): Promise<void> => {
    await browser.close();
    site.close();
    site.closeAllConnections();
  };
  try {
    const { page, faults } = await browser.open(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
    return {
      changes: () => page.evaluate(() => kept.changes),
      troubles: async () => [...faults, ...(await page.evaluate(() => kept.troubles))],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function bodyOf(request: IncomingMessage): Promise<URLSearchParams> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return new URLSearchParams(text);
}

function signed(body: URLSearchParams, key: string, secret: string): object {
  const [socketId, channel] = [body.get("socket_id"), body.get("channel_name")];
  const data = channel?.startsWith("presence-") ? JSON.stringify({ user_id: "page" }) : undefined;
  const text = `${socketId}:${channel}${data === undefined ? "" : `:${data}`}`;
  const auth = `${key}:${createHmac("sha256", secret).update(text).digest("hex")}`;
  return data === undefined ? { auth } : { auth, channel_data: data };
}
