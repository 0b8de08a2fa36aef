/** Error codes, and the error that carries them: the connection lives. Reasons to close are in closing.ts. PROTOCOL.md lists the codes. */

import { PeerError } from "../encoding/peer-error.js";

/** Error codes, and whether the same command may succeed when sent again later. */
export const ERROR_CODES = {
  bad_frame: { temporary: false, meaning: "the frame could not be read" },
  bad_request: { temporary: false, meaning: "a field is missing or has a value that is not allowed" },
  unknown_action: { temporary: false, meaning: "there is no such action" },
  bad_channel: { temporary: false, meaning: "the channel name breaks the grammar" },
  unauthorized: { temporary: false, meaning: "send connect with a token first" },
  token_invalid: { temporary: false, meaning: "the token was refused" },
  token_expired: { temporary: false, meaning: "the token has expired: get a fresh one" },
  token_not_active: { temporary: true, meaning: "the token is not valid yet: try again later" },
  forbidden: { temporary: false, meaning: "this identity may not do that" },
  not_subscribed: { temporary: false, meaning: "the connection is not subscribed to that channel" },
  channel_limit: {
    temporary: false,
    meaning: "a channel limit of this connection is reached: unsubscribe from some",
  },
  not_enabled: { temporary: false, meaning: "the channel's namespace does not enable this" },
  too_large: { temporary: false, meaning: "the content or the frame is larger than allowed" },
  rate_limited: { temporary: true, meaning: "the message or byte rate limit is reached" },
  overloaded: { temporary: true, meaning: "too many commands are waiting for an answer" },
  unavailable: {
    temporary: true,
    meaning: "the message bus, or whoever decides on a right, is unreachable: nothing was sent",
  },
  outcome_unknown: {
    temporary: true,
    meaning: "it was sent and its answer is missing: the outcome is unknown",
  },
  internal: { temporary: true, meaning: "an internal error of the node, which logged the details" },
} as const satisfies Record<string, { temporary: boolean; meaning: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** A refusal that is told to whoever asked: the peer's fault or the environment's, never a bug. */
export class StarlingError extends PeerError {
  readonly code: ErrorCode;
  /** Milliseconds after which trying again makes sense, where that is known. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; retryAfterMs?: number }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = "StarlingError";
    this.code = code;
    this.retryAfterMs = options?.retryAfterMs;
  }

  get temporary(): boolean {
    return ERROR_CODES[this.code].temporary;
  }
}

/** The longest stretch of a peer's own text that an error repeats, in characters. */
const QUOTE_LIMIT = 60;

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch (error) {
    // What others send may nest deeper than can be written.
    if (error instanceof RangeError) return Array.isArray(value) ? "an array" : "an object";
    throw error;
  }
}

/** A value as an error shows it: quoted, escaped and cut. */
export function quote(value: unknown): string {
  const text = typeof value === "string" ? value : jsonOf(value);
  const cut = text.length > QUOTE_LIMIT ? `${text.slice(0, QUOTE_LIMIT)}…` : text;
  return typeof value === "string" ? JSON.stringify(cut) : cut;
}
