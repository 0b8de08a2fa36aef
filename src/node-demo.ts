/** The demo: its pages, and the app that the page of pusher-js has on a node that was just tried out. */

import { randomBytes } from "node:crypto";
import { appsOf, isLoopback, isOpen, type Config } from "./config.js";
import type { KeyPair } from "./core/app.js";

export interface Demo {
  /** By path; none where the demo is off. */
  readonly files: Readonly<Record<string, URL>>;
  /** With which the page of pusher-js connects. undefined: there is no such page. */
  readonly pair: KeyPair | undefined;
  /** The configuration with that pair as `main`'s, where it may have it. */
  withPair(config: Config): Config;
}

/** Keys are no secrets. With one that stays pages find their way back to a node that was started again. */
const KEY = "starling-demo";
const SECRET_BYTES = 32;

export function createDemo(config: Config, { production }: { readonly production: boolean }): Demo {
  const isOffered = (it: Config): boolean => !production && opensNothing(it);
  const pair = isOffered(config)
    ? { key: KEY, secret: randomBytes(SECRET_BYTES).toString("hex") }
    : undefined;
  return {
    files: config.demo ? { ...demoFiles(), ...(pair === undefined ? {} : pusherFiles()) } : {},
    pair,
    withPair: (it) =>
      pair === undefined || !isOffered(it)
        ? it
        : { ...it, appKey: pair.key, appSecret: pair.secret, pusher: { ...it.pusher, clientEvents: true } },
  };
}

/**
 * Whether a pair that all may use opens no more than is open: any client may use all of `main`, this machine alone
 * reaches the node, and no app is there for Pusher's clients. Nodes of a fleet would each have another secret.
 */
function opensNothing(config: Config): boolean {
  return (
    config.demo &&
    config.redis === undefined &&
    isLoopback(config.host) &&
    isOpen(config) &&
    appsOf(config).every(({ keys }) => keys.length === 0)
  );
}

const file = (path: string): URL => new URL(path, import.meta.url);

function demoFiles(): Record<string, URL> {
  return {
    "/": file("./demo/index.html"),
    "/demo.css": file("./demo/demo.css"),
    "/demo.js": file("./demo/demo.js"),
    "/icon.svg": file("./demo/icon.svg"),
    "/starling.js": file("./browser/starling.js"),
  };
}

function pusherFiles(): Record<string, URL> {
  return {
    "/pusher": file("./demo/pusher/index.html"),
    "/pusher/demo.js": file("./demo/pusher/demo.js"),
    "/pusher/pusher.min.js": file("./demo/pusher/pusher.min.js"),
    // The script names it.
    "/pusher/pusher.min.js.LICENSE.txt": file("./demo/pusher/pusher.min.js.LICENSE.txt"),
  };
}
