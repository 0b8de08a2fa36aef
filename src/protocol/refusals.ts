/** What a client is told of what went wrong. */

import { ERROR_CODES, mayReconnect, type StarlingError } from "./errors.js";
import type { ClosingMessage, CommandId, ErrorMessage } from "./messages.js";

export function errorMessage(error: StarlingError, id: CommandId | undefined): ErrorMessage {
  const { code, message, retryAfterMs } = error;
  return {
    type: "error",
    ...(id === undefined ? {} : { id }),
    code,
    message,
    temporary: ERROR_CODES[code].temporary,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

export function closingMessage(
  code: number,
  reason: string,
  retryAfterMs: number | undefined,
): ClosingMessage {
  return {
    type: "closing",
    code,
    reason,
    reconnect: mayReconnect(code),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}
