import { json } from "./codec-json.js";
import { checkNames, shown } from "./arguments.js";
import { systemClock, type Clock } from "./clock.js";
import { StarlingError } from "./error.js";
import type { ClientCodec, Debug } from "./frames.js";
import { webSocketOf, type WebSocketConstructor } from "./socket.js";
import type { TokenOption } from "./token.js";
import type { ConnectOptions, Urls } from "./types.js";
import { urlOf } from "./url.js";

/** Every option with its default, checked. */
export interface ResolvedOptions {
  /** Not empty. */
  readonly urls: readonly string[];
  readonly token: TokenOption | undefined;
  readonly codec: ClientCodec;
  readonly WebSocket: WebSocketConstructor;
  readonly queueMax: number;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly baseMs: number;
  readonly capMs: number;
  readonly stableMs: number;
  readonly random: () => number;
  readonly clock: Clock;
  readonly debug: Debug | undefined;
}

const KNOWN = [
  ...["token", "codec", "WebSocket", "key", "offline", "timeoutMs", "connectTimeoutMs", "backoff"],
  ...["debug", "random", "clock"],
];

function atLeast(least: number, name: string, value: number): number {
  if (value >= least && (Number.isFinite(value) || name === "offline.queue")) return value;
  throw new StarlingError("bad_request", `${name} is ${value}: give a number from ${least} on`);
}

function resolveUrls(urls: Urls, key: string | undefined): readonly string[] {
  const list = Array.isArray(urls) ? (urls as readonly (string | URL)[]) : [urls as string | URL];
  if (list.length === 0)
    throw new StarlingError("bad_request", "the list of URLs is empty: give one at least");
  return list.map((url) => urlOf(url, key));
}

/** @throws StarlingError bad_request, naming the option and its value */
export function resolveOptions(urls: Urls, options: ConnectOptions): ResolvedOptions {
  checkNames("connect", options, KNOWN);
  const { backoff = {}, offline = {}, token, codec = json } = options;
  checkNames("connect", backoff, ["baseMs", "capMs", "stableMs"], "backoff.");
  checkNames("connect", offline, ["queue"], "offline.");
  if (token !== undefined && typeof token !== "string" && typeof token !== "function") {
    throw new StarlingError(
      "bad_request",
      `connect: option "token" is ${shown(token)}: give a string, or a function that gives one`,
    );
  }
  if (typeof codec?.encode !== "function") {
    throw new StarlingError(
      "bad_request",
      `connect: option "codec" is ${shown(codec)}: give json or msgpack`,
    );
  }
  return {
    urls: resolveUrls(urls, options.key),
    token,
    codec,
    WebSocket: webSocketOf(options.WebSocket),
    queueMax: atLeast(0, "offline.queue", offline.queue ?? 100),
    timeoutMs: atLeast(1, "timeoutMs", options.timeoutMs ?? 10_000),
    connectTimeoutMs: atLeast(1, "connectTimeoutMs", options.connectTimeoutMs ?? 10_000),
    baseMs: atLeast(1, "backoff.baseMs", backoff.baseMs ?? 1_000),
    capMs: atLeast(1, "backoff.capMs", backoff.capMs ?? 30_000),
    stableMs: atLeast(0, "backoff.stableMs", backoff.stableMs ?? 30_000),
    random: options.random ?? Math.random,
    clock: options.clock ?? systemClock,
    debug: options.debug ? (...what) => console.debug("starling:", ...what) : undefined,
  };
}
