/** Codes of Pusher's closes and errors. Clients stay away after 4000 to 4099 and 4300 on, and come back at once after 4200 to 4299. */

import type { CloseReason } from "../../core/closing.js";
import type { RejectReason } from "../../core/rejects.js";

export const NO_SUCH_APP = 4001;
export const APP_DISABLED = 4003;
export const OVER_QUOTA = 4004;
export const BAD_PATH = 4005;
export const BAD_VERSION = 4006;
export const UNSUPPORTED_PROTOCOL = 4007;
export const UNAUTHORIZED = 4009;
/** Clients try again after a second or more. */
export const OVER_CAPACITY = 4100;
/** Clients come back at once: what spreads them is that they are not all closed at once. */
export const RECONNECT = 4200;
export const NO_PONG = 4201;
export const CLIENT_EVENT_REFUSED = 4301;
/** RFC 6455 7.4.1: frames of a kind that cannot be taken. */
const UNSUPPORTED_DATA = 1003;

const CODES: Readonly<Record<CloseReason, number>> = {
  restart: RECONNECT,
  heartbeat_timeout: NO_PONG,
  slow_reader: OVER_CAPACITY,
  token_expired: UNAUTHORIZED,
  connect_timeout: UNAUTHORIZED,
  overloaded: OVER_CAPACITY,
  internal: OVER_CAPACITY,
  superseded: UNAUTHORIZED,
  rate_limited: OVER_CAPACITY,
  token_invalid: UNAUTHORIZED,
  disconnected: UNAUTHORIZED,
  app_disabled: APP_DISABLED,
  app_removed: NO_SUCH_APP,
  unsupported_data: UNSUPPORTED_DATA,
};

export function closeCodeOf(reason: CloseReason): number {
  return CODES[reason];
}

const REFUSALS: Partial<Readonly<Record<RejectReason, number>>> = {
  app: NO_SUCH_APP,
  app_key: NO_SUCH_APP,
  app_disabled: APP_DISABLED,
  app_full: OVER_QUOTA,
  origin: UNAUTHORIZED,
};

/** Of a client that was not taken for a reason of the node. */
export function refusalCodeOf(reason: RejectReason): number {
  return REFUSALS[reason] ?? OVER_CAPACITY;
}
