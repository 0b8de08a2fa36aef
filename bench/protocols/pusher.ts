import { createHmac } from "node:crypto";
import type { Credentials, Heard, Protocol } from "./protocol.js";

const QUERY = "protocol=7&client=starling-bench&version=1.0.0";
/** What a client pings after where the greeting asks for nothing sooner. */
const ACTIVITY_TIMEOUT_S = 120;
const REASON_MAX = 300;

/** Events stand first in what servers send, with few bytes before their end. */
const HEAD_BYTES = 96;
const EVENT = /"event"\s*:\s*"([^"]*)"/;
/** Of the bench's channels, those that keep presence; here it is a prefix that says what a channel is. */
const PRESENCE = "presence:";

const text = (event: object): Buffer => Buffer.from(JSON.stringify(event));

/**
 * Channels are private where there is a secret to sign subscriptions with, else public; or they have presence, and each
 * connection is a user of its own. What is published are client events, the only ones that a client may send; servers
 * take them in channels that need a signature only, of who is subscribed.
 */
export function createPusher({ secret }: Credentials): Protocol {
  const nameOf = (channel: string): string => {
    if (channel.startsWith(PRESENCE)) return `presence-${channel.slice(PRESENCE.length)}`;
    return secret === undefined ? channel : `private-${channel}`;
  };
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
    subscribe: (channel) => text({ event: "pusher:subscribe", data: { channel: nameOf(channel), auth: "" } }),
    ...(secret !== undefined && {
      subscribeGreeted: (channel, greeting, url) => {
        const socketId = socketIdOf(greeting);
        const name = nameOf(channel);
        const member = channel.startsWith(PRESENCE)
          ? JSON.stringify({ user_id: socketId, user_info: { name: `user ${socketId}` } })
          : undefined;
        const signed = [socketId, name, ...(member === undefined ? [] : [member])].join(":");
        const signature = createHmac("sha256", secret).update(signed).digest("hex");
        const auth = `${appKeyOf(url)}:${signature}`;
        return text({
          event: "pusher:subscribe",
          data: { channel: name, auth, ...(member !== undefined && { channel_data: member }) },
        });
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

/** Only frames without a marker come here: where `event` does not stand first, they are few enough to be searched whole. */
function classify(payload: Buffer): Heard {
  const found =
    EVENT.exec(payload.toString("latin1", 0, HEAD_BYTES)) ?? EVENT.exec(payload.toString("latin1"));
  switch (found?.[1]) {
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
