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
