/** Everything the API says when it refuses, in one shape: `{"error":{"code","message","temporary"}}`. */

import type { HttpResponse } from "../core/transport.js";
import { ERROR_CODES, StarlingError, type ErrorCode } from "../core/errors.js";
import { jsonResponse } from "./message.js";

/** What only HTTP can get wrong. None is temporary. */
export const HTTP_ERROR_CODES = [
  "not_found",
  "method_not_allowed",
  "request_timeout",
  "unsupported_media_type",
  "expectation_failed",
  "headers_too_large",
] as const;
export type ApiErrorCode = ErrorCode | (typeof HTTP_ERROR_CODES)[number];

export const API_ERROR_CODES: readonly ApiErrorCode[] = [
  ...(Object.keys(ERROR_CODES) as ErrorCode[]),
  ...HTTP_ERROR_CODES,
];

/** What metrics call the route of a request that is none of an API's. */
export const UNKNOWN_ROUTE = "unknown";

const STATUS: Readonly<Record<ApiErrorCode, number>> = {
  bad_frame: 400,
  bad_request: 400,
  unknown_action: 400,
  bad_channel: 400,
  unauthorized: 401,
  token_invalid: 401,
  token_expired: 401,
  token_not_active: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  not_subscribed: 409,
  channel_limit: 409,
  // Not 400: the request is right, and would be answered after a change of the node's configuration.
  not_enabled: 409,
  too_large: 413,
  unsupported_media_type: 415,
  expectation_failed: 417,
  rate_limited: 429,
  headers_too_large: 431,
  internal: 500,
  overloaded: 503,
  unavailable: 503,
  outcome_unknown: 504,
};

/** Where the error does not say when to come back, a second later. */
const RETRY_AFTER_MS = 1_000;
const RETRY_STATUSES: readonly number[] = [429, 503];

export class ApiError extends Error {
  readonly code: ApiErrorCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ApiErrorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.headers = headers;
  }
}

export interface ErrorDetail {
  readonly code: ApiErrorCode;
  readonly message: string;
  readonly temporary: boolean;
}

/** An error as the API shows it. Faults of our own show nothing of themselves: they are logged. */
export function errorDetail(error: unknown): ErrorDetail {
  if (error instanceof StarlingError) {
    return { code: error.code, message: error.message, temporary: error.temporary };
  }
  if (error instanceof ApiError) {
    const temporary = error.code in ERROR_CODES && ERROR_CODES[error.code as ErrorCode].temporary;
    return { code: error.code, message: error.message, temporary };
  }
  return { code: "internal", message: ERROR_CODES.internal.meaning, temporary: true };
}

export interface ErrorHead {
  readonly detail: ErrorDetail;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** @param statuses  of codes that have another one than the server API's */
export function errorHead(
  error: unknown,
  statuses: Readonly<Partial<Record<ApiErrorCode, number>>> = {},
): ErrorHead {
  const detail = errorDetail(error);
  const status = statuses[detail.code] ?? STATUS[detail.code];
  const headers: Record<string, string> = error instanceof ApiError ? { ...error.headers } : {};
  if (RETRY_STATUSES.includes(status)) {
    const retryAfterMs = error instanceof StarlingError ? error.retryAfterMs : undefined;
    headers["retry-after"] = String(Math.max(1, Math.ceil((retryAfterMs ?? RETRY_AFTER_MS) / 1000)));
  }
  return { detail, status, headers };
}

export function errorResponse(error: unknown): HttpResponse {
  const { detail, status, headers } = errorHead(error);
  return jsonResponse(status, { error: detail }, headers);
}

/** Whether the error is a fault of ours, to be logged. */
export function isFault(error: unknown): boolean {
  return (
    !(error instanceof ApiError || error instanceof StarlingError) || errorDetail(error).code === "internal"
  );
}
