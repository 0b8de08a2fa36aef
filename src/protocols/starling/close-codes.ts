/** Close codes of the native protocol. PROTOCOL.md lists the same. */

import { CLOSE_REASONS, type CloseReason } from "../../core/closing.js";

/** RFC 6455 7.4.1: the client is done. */
const NORMAL = 1000;
/** RFC 6455 7.1.5: there was no close frame. */
const ABNORMAL = 1006;

/** Of the others one is for what this protocol answers with an error, and two are `disconnected` to it. */
type OwnReason = Exclude<CloseReason, "unsupported_data" | "app_disabled" | "app_removed">;

const CODES: Readonly<Record<OwnReason, number>> = {
  restart: 1012,
  heartbeat_timeout: 4000,
  slow_reader: 4001,
  token_expired: 4002,
  connect_timeout: 4003,
  overloaded: 4004,
  internal: 4005,
  superseded: 4006,
  rate_limited: 4007,
  token_invalid: 4500,
  disconnected: 4502,
};

interface CloseCode {
  readonly code: number;
  readonly meaning: string;
}

/** With `normal`, which is the client's own. The SDK does without. */
export const CLOSE_CODES = /* @__PURE__ */ listCodes();

function listCodes(): Readonly<Record<OwnReason | "normal", CloseCode>> {
  const own = Object.entries(CODES).map(([reason, code]): [string, CloseCode] => [
    reason,
    { code, meaning: CLOSE_REASONS[reason as OwnReason].meaning },
  ]);
  const normal = { code: NORMAL, meaning: "closed on request; the session ends" };
  return Object.fromEntries([["normal", normal], ...own]) as Record<OwnReason | "normal", CloseCode>;
}

export function closeCodeOf(reason: CloseReason): number {
  if (reason === "app_disabled" || reason === "app_removed") return CODES.disconnected;
  return CODES[reason as OwnReason] ?? CODES.internal;
}

/** Whether a client may reconnect, with backoff, after a close with this code. */
export function mayReconnect(code: number): boolean {
  return !(code >= 4500 && code <= 4999);
}

export function peerClosed(code: number): "goodbye" | "away" | "lost" {
  if (code === NORMAL) return "goodbye";
  return code === ABNORMAL ? "lost" : "away";
}
