/** Why a node refuses: error codes of what clients ask, and what it refuses before a client can ask. */

import { ERROR_CODES, type ErrorCode } from "./errors.js";

const BEFORE_COMMANDS = [
  // Upgrades.
  "upgrade",
  "version",
  "key",
  "origin",
  "protocol",
  "subprotocol",
  "app",
  "app_key",
  "app_disabled",
  "draining",
  "upgrade_rate",
  "upgrade_rate_ip",
  "node_full",
  "app_full",
  "ip_full",
  "unauthenticated_full",
  "unauthenticated_ip",
  // Sockets.
  "sockets_full",
  "sockets_idle_full",
  "sockets_idle_ip",
  "api_sockets_full",
  "frame_too_large",
  // What outsiders publish on the bus.
  "ingest",
] as const;

export type RejectReason = ErrorCode | (typeof BEFORE_COMMANDS)[number];

export const REJECT_REASONS: readonly RejectReason[] = [
  ...(Object.keys(ERROR_CODES) as ErrorCode[]),
  ...BEFORE_COMMANDS,
];
