import type { ERROR_CODES, ErrorCode } from "../protocols/starling/words.js";

/**
 * Codes of the client's own, beside the server's. timeout: the deadline passed;
 * closed: the client, or this subscription, was ended; connect_failed: an attempt
 * to connect failed, and the next one follows; token_unavailable: the token
 * callback failed; handler_failed: a handler of the application threw;
 * out_of_order: messages were skipped without a word from the server.
 */
export type ClientErrorCode =
  | ErrorCode
  | "timeout"
  | "closed"
  | "connect_failed"
  | "token_unavailable"
  | "handler_failed"
  | "out_of_order";

type TemporaryOfServer = {
  [Code in ErrorCode]: (typeof ERROR_CODES)[Code]["temporary"] extends true ? Code : never;
}[ErrorCode];
type TemporaryOfClient = "timeout" | "connect_failed" | "token_unavailable" | "out_of_order";

/** Not read from the server's table: its words for each code would be in every page. */
const TEMPORARY: ReadonlySet<string> = new Set(
  Object.keys({
    ...{ timeout: 1, connect_failed: 1, token_unavailable: 1, out_of_order: 1 },
    ...{
      token_not_active: 1,
      rate_limited: 1,
      overloaded: 1,
      unavailable: 1,
      outcome_unknown: 1,
      internal: 1,
    },
  } satisfies Record<TemporaryOfServer | TemporaryOfClient, 1>),
);

export interface StarlingErrorOptions {
  readonly cause?: unknown;
  readonly temporary?: boolean;
  readonly retryAfterMs?: number | undefined;
  readonly sent?: boolean;
  readonly status?: number | undefined;
}

/** What every promise of the client rejects with, and what its "error" event carries. */
export class StarlingError extends Error {
  /** Stable: decide by it, not by the message. */
  readonly code: ClientErrorCode;
  /** Whether the same call may succeed when made again later. */
  readonly temporary: boolean;
  /** Milliseconds after which trying again makes sense, where the server said so. */
  readonly retryAfterMs: number | undefined;
  /** false: the command never left this client. With `timeout`, true means that the outcome is unknown. */
  readonly sent: boolean;
  /** With `connect_failed`, the HTTP status that the server answered with, where the platform tells it. */
  readonly status: number | undefined;
  /** The message's id, for a publish: given again, it makes a repetition safe where the channel keeps history. */
  messageId: string | undefined;

  constructor(code: ClientErrorCode, message: string, options: StarlingErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "StarlingError";
    this.code = code;
    this.temporary = options.temporary ?? TEMPORARY.has(code);
    this.retryAfterMs = options.retryAfterMs;
    this.sent = options.sent ?? false;
    this.status = options.status;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
