/** Why a connection is closed. Protocols have close codes and frames for it. */

/** What is said of each, and whether the session of a connection closed so can be resumed. */
export const CLOSE_REASONS = {
  restart: { resumable: true, meaning: "the node is draining: reconnect to another" },
  heartbeat_timeout: { resumable: true, meaning: "a ping was not answered in time" },
  slow_reader: {
    resumable: true,
    meaning: "the client reads too slowly: too many bytes are buffered for it",
  },
  token_expired: { resumable: true, meaning: "the token expired: reconnect with a fresh one" },
  connect_timeout: { resumable: true, meaning: "the client did not authenticate in time" },
  overloaded: { resumable: true, meaning: "the client sent faster than it could be answered" },
  internal: { resumable: true, meaning: "an internal error of the node ended this session" },
  // The session goes on, but with the other connection.
  superseded: {
    resumable: false,
    meaning: "the session was resumed by another connection: reconnect without its resume token",
  },
  rate_limited: {
    resumable: true,
    meaning: "the client sent far more than its rate limit: reconnect after a pause",
  },
  token_invalid: { resumable: false, meaning: "the token was refused" },
  unsupported_data: {
    resumable: false,
    meaning: "the client sent a frame of a kind that its protocol does not have",
  },
  disconnected: { resumable: false, meaning: "the application disconnected this user" },
  app_disabled: { resumable: false, meaning: "the connection's app was disabled" },
  app_removed: { resumable: false, meaning: "the connection's app is served by this node no more" },
} as const satisfies Record<string, { resumable: boolean; meaning: string }>;

export type CloseReason = keyof typeof CLOSE_REASONS;

export interface Closing {
  readonly reason: CloseReason;
  /** For people, as UTF-8 at most CLOSE_MESSAGE_BYTES_MAX bytes (core/limits.ts). */
  readonly message: string;
  /** How long the client is asked to stay away. */
  readonly retryAfterMs?: number | undefined;
}
