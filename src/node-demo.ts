/** The demo: its pages, and the app that the page of pusher-js has on a node that was just tried out. */

import { randomBytes } from "node:crypto";
import { appsOf, isLoopback, isOpen, type Config } from "./config.js";
import type { KeyPair } from "./core/app.js";

export interface Demo {
  /** By path; none where the demo is off. */
  readonly files: Readonly<Record<string, URL>>;
  /** Why there is nothing at a path of the demo's. */
  readonly absent: Readonly<Record<string, string>>;
  /** With which the page of pusher-js connects. undefined: there is no such page. */
  readonly pair: KeyPair | undefined;
  /** The configuration with that pair as `main`'s, where it may have it. */
  withPair(config: Config): Config;
}

/** Keys are no secrets. With one that stays pages find their way back to a node that was started again. */
const KEY = "starling-demo";
const SECRET_BYTES = 32;

export function createDemo(config: Config, { production }: { readonly production: boolean }): Demo {
  const reason = whyNot(config, production);
  const pair =
    reason === undefined ? { key: KEY, secret: randomBytes(SECRET_BYTES).toString("hex") } : undefined;
  return {
    files: config.demo ? { ...demoFiles(), ...(pair === undefined ? {} : pusherFiles()) } : {},
    absent:
      reason === undefined
        ? {}
        : { "/pusher": `the demo page of pusher-js is off, as ${reason} (docs/pusher.md#the-demo-page).` },
    pair,
    withPair: (it) =>
      pair === undefined || whyNot(it, production) !== undefined
        ? it
        : { ...it, appKey: pair.key, appSecret: pair.secret, pusher: { ...it.pusher, clientEvents: true } },
  };
}

/**
 * Why there may be no pair that all may use. It may open no more than is open: any client may use all of `main`, this
 * machine alone reaches the node, and no app is there for Pusher's clients. Nodes of a fleet would each have another
 * secret. @returns one reason, as those whom the page is not for may read it
 */
function whyNot(config: Config, production: boolean): string | undefined {
  if (production) return "NODE_ENV is production";
  if (!config.demo) return "demo is off";
  if (config.redis !== undefined) return "redis is set";
  if (!isLoopback(config.host)) return "host is not a loopback address";
  if (!isOpen(config)) return "main asks for tokens";
  if (appsOf(config).some(({ keys }) => keys.length > 0)) return "an app has keys of its own";
  return undefined;
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
