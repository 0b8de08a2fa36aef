/**
 * What labels may say. Clients choose close codes and could, by a slip of ours,
 * come to choose a reason: everything outside these lists is `other`, so that no
 * one can make series without end.
 */

import { CLOSE_CODES, ERROR_CODES } from "../protocol/errors.js";

const OTHER = "other";

/** RFC 6455 7.4.1 and the registry it began. */
const FIRST_STANDARD_CODE = 1000;
const LAST_STANDARD_CODE = 1015;

const OWN_CODES: readonly number[] = Object.values(CLOSE_CODES).map(({ code }) => code);

/** Shown from the start, at 0: a rate over a series that appears with 1 misses the 1. */
const SHOWN_CODES: readonly number[] = [...new Set([...OWN_CODES, 1001, 1005, 1006])];

function closeCodeLabel(code: number): string {
  const known = OWN_CODES.includes(code) || (code >= FIRST_STANDARD_CODE && code <= LAST_STANDARD_CODE);
  return known ? String(code) : OTHER;
}

/** Why core and the bus refuse what is no command: core/admission.ts, redis/broker.ts. */
const OTHER_REASONS = [
  "upgrade",
  "version",
  "key",
  "origin",
  "subprotocol",
  "draining",
  "upgrade_rate",
  "upgrade_rate_ip",
  "node_full",
  "ip_full",
  "unauthenticated_full",
  "unauthenticated_ip",
  "sockets_full",
  "sockets_idle_full",
  "sockets_idle_ip",
  "api_sockets_full",
  "frame_too_large",
  "ingest",
] as const;

const REASONS: ReadonlySet<string> = new Set([...Object.keys(ERROR_CODES), ...OTHER_REASONS]);

export function byCloseCode(counts: ReadonlyMap<number, number>): Map<string, number> {
  return sum(
    [...counts].map(([code, count]) => [closeCodeLabel(code), count]),
    SHOWN_CODES.map(String),
  );
}

export function byReason(counts: ReadonlyMap<string, number>): Map<string, number> {
  return sum(
    [...counts].map(([reason, count]) => [REASONS.has(reason) ? reason : OTHER, count]),
    REASONS,
  );
}

function sum(counts: Iterable<readonly [string, number]>, shown: Iterable<string>): Map<string, number> {
  const sums = new Map<string, number>();
  for (const label of shown) sums.set(label, 0);
  for (const [label, count] of counts) sums.set(label, (sums.get(label) ?? 0) + count);
  return sums;
}
