import type { Bytes } from "./bytes.js";
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
  addEventListener(type: "open" | "error", listener: () => void): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** @throws StarlingError bad_request where there is none: Node 20 has no global WebSocket */
export function webSocketOf(given: WebSocketConstructor | undefined): WebSocketConstructor {
  const found = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (found !== undefined) return found;
  throw new StarlingError(
    "bad_request",
    "there is no global WebSocket here: pass { WebSocket } from the ws package (Node 22 and later have one)",
  );
}

/**
 * @param key routing key: the balancer sends equal keys to the same node
 * @throws StarlingError bad_request
 */
export function urlOf(url: string | URL, key: string | undefined): string {
  let parsed: URL;
  try {
    // A browser's own address makes "/path" enough.
    parsed = new URL(url, (globalThis as { location?: { href: string } }).location?.href);
  } catch (cause) {
    throw new StarlingError("bad_request", `"${String(url)}" is not a URL: give ws:// or wss://`, { cause });
  }
  if (parsed.protocol === "http:") parsed.protocol = "ws:";
  if (parsed.protocol === "https:") parsed.protocol = "wss:";
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    throw new StarlingError("bad_request", `"${String(url)}" is not a WebSocket URL: give ws:// or wss://`);
  }
  parsed.hash = "";
  if (key) parsed.searchParams.set("key", key);
  return parsed.href;
}
