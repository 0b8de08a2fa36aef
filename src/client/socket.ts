import { shown } from "./arguments.js";
import type { Bytes } from "./bytes.js";
import { withoutSecrets } from "./connect-failure.js";
import { StarlingError } from "./error.js";

/** What the client needs of a WebSocket: the browser's, Node's own and the `ws` package's have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  send(data: string | Bytes): void;
  close(code?: number, reason?: string): void;
  /** Only the ws package's: at once, without a close frame. */
  terminate?(): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
  addEventListener(type: "open" | "error", listener: (event: object) => void): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** @throws StarlingError bad_request where there is none: Node 20 has no global WebSocket */
export function webSocketOf(given: WebSocketConstructor | undefined): WebSocketConstructor {
  const found = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (typeof found === "function") return found;
  if (found !== undefined) {
    throw new StarlingError("bad_request", `option "WebSocket" is a ${typeof found}: give a WebSocket class`);
  }
  throw new StarlingError(
    "bad_request",
    "there is no global WebSocket here: pass { WebSocket } from the ws package (Node 22 and later have one)",
  );
}

/** Scheme and host, path and query; the fragment is left off. */
const PARTS = /^(?:ws|http)(s?):\/\/([^/?#]+)([^?#]*)(?:\?([^#]*))?/i;

/**
 * Works on the text: React Native's URL has no setters and does not check.
 * @param key routing key: the balancer sends equal keys to the same node
 * @throws StarlingError bad_request
 */
export function urlOf(url: string | URL, key: string | undefined): string {
  if (typeof url !== "string" && !(url && typeof url === "object" && "href" in url)) {
    throw new StarlingError(
      "bad_request",
      `connect: ${shown(url)} is not a URL: give one such as "ws://127.0.0.1:8000"`,
    );
  }
  let href = String(url);
  try {
    // A browser's own address makes "/path" enough.
    const base = /^[a-z][a-z\d+.-]*:/i.test(href) ? undefined : globalThis.location?.href;
    href = new URL(href, base).href;
  } catch (cause) {
    throw new StarlingError(
      "bad_request",
      `${shown(withoutSecrets(String(url)))} is not a URL: give ws:// or wss://`,
      { cause },
    );
  }
  const parts = PARTS.exec(href);
  if (parts === null) {
    throw new StarlingError(
      "bad_request",
      `${shown(withoutSecrets(String(url)))} is not a WebSocket URL: give ws:// or wss://`,
    );
  }
  const [, secure, host, path, query = ""] = parts;
  const parameters = query === "" ? [] : query.split("&");
  const others = key ? parameters.filter((parameter) => !/^key(=|$)/.test(parameter)) : parameters;
  if (key) others.push(`key=${formEncoded(key)}`);
  return `ws${secure!.toLowerCase()}://${host}${path || "/"}${others.length > 0 ? `?${others.join("&")}` : ""}`;
}

/** As URLSearchParams has it: balancers compare the text. */
function formEncoded(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, "+");
}
