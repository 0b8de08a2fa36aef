import { createHmac } from "node:crypto";
import type { Credentials, Heard, Protocol } from "./protocol.js";

const QUERY = "protocol=7&client=starling-bench&version=1.0.0";
/** What a client pings after where the greeting asks for nothing sooner. */
const ACTIVITY_TIMEOUT_S = 120;
const REASON_MAX = 300;

const text = (event: object): Buffer => Buffer.from(JSON.stringify(event));

/**
 * Channels are private where there is a secret to sign subscriptions with, else public. What is published are client
 * events, the only ones that a client may send; servers take them in private channels only, of who is subscribed.
 */
export function createPusher({ secret }: Credentials): Protocol {
  const nameOf = (channel: string): string => (secret === undefined ? channel : `private-${channel}`);
  const subscribe = (channel: string, auth: string): Buffer =>
    text({ event: "pusher:subscribe", data: { channel: nameOf(channel), auth } });
  return {
    name: "pusher",
    path: `/app/?${QUERY}`,
    query: QUERY,
    binary: false,
    pong: text({ event: "pusher:pong", data: {} }),
    keepAlive: (greeting) => ({
      payload: text({ event: "pusher:ping", data: {} }),
      everyMs: activityTimeoutSeconds(greeting) * 1000,
    }),
    subscribe: (channel) => subscribe(channel, ""),
    ...(secret !== undefined && {
      subscribeGreeted: (channel, greeting, url) => {
        const signed = `${socketIdOf(greeting)}:${nameOf(channel)}`;
        const signature = createHmac("sha256", secret).update(signed).digest("hex");
        return subscribe(channel, `${appKeyOf(url)}:${signature}`);
      },
      publishersSubscribe: true as const,
    }),
    // An object, as Reverb takes no string.
    publish: (channel, content) =>
      text({ event: "client-bench", channel: nameOf(channel), data: { content } }),
    classify,
    reasonOf,
  };
}

/** The key in a URL such as ws://127.0.0.1:6001/app/KEY; empty where there is none. */
export function appKeyOf(url: URL): string {
  return decodeURIComponent(/\/app\/([^/]+)\/?$/.exec(url.pathname)?.[1] ?? "");
}

/** Only frames without a marker come here: few enough to be searched whole, wherever a server puts `event`. */
function classify(payload: Buffer): Heard {
  const event = /"event"\s*:\s*"([^"]*)"/.exec(payload.toString("latin1"))?.[1];
  switch (event) {
    case "pusher:connection_established":
      return "greeting";
    case "pusher_internal:subscription_succeeded":
      return "reply";
    case "pusher:subscription_error":
    case "pusher:error":
      return "error";
    case "pusher:ping":
      return "ping";
    default:
      return "other";
  }
}

/** The same for all channels, so that it can be counted. */
function reasonOf(payload: Buffer): string {
  const text = payload.toString("utf8");
  const found = (name: string): string =>
    new RegExp(`"${name}\\\\?"\\s*:\\s*(?:\\\\?")?([^"\\\\,}]*)`).exec(text)?.[1] ?? "";
  const code = found("code") || found("status");
  const said = [found("event"), code, found("message") || found("error")].filter((part) => part !== "");
  const unsigned = found("event") === "pusher:subscription_error" || code === "4009";
  return said.join(" ").slice(0, REASON_MAX) + (unsigned ? " (is --secret that of the app?)" : "");
}

/** `data` is a JSON string within JSON, so quotes in it are escaped; some servers send an object. */
function socketIdOf(greeting: Buffer): string {
  return /socket_id\\?"\s*:\s*\\?"(\d+\.\d+)/.exec(greeting.toString("latin1"))?.[1] ?? "";
}

function activityTimeoutSeconds(greeting: Buffer): number {
  const asked = Number(/activity_timeout\\?"\s*:\s*(\d+)/.exec(greeting.toString("latin1"))?.[1] ?? 0);
  return asked > 0 ? Math.min(asked, ACTIVITY_TIMEOUT_S) : ACTIVITY_TIMEOUT_S;
}
