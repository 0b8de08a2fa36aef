/** What labels may say. Each value is one of a list, so that no one can make series without end. */

import { CLOSE_REASONS } from "../core/closing.js";
import { REJECT_REASONS } from "../core/rejects.js";
import type { DisconnectReason, Stats } from "../core/stats.js";

const DISCONNECT_REASONS = [
  ...Object.keys(CLOSE_REASONS),
  "client",
  "lost",
] as const as readonly DisconnectReason[];

/** Shown from the start, at 0: a rate over a series that appears with 1 misses the 1. */
export function disconnectCounts({ disconnects, framings }: Stats): [[string, string], number][] {
  const protocols = new Set(framings.map(({ protocol }) => protocol));
  return [...protocols].flatMap((protocol) =>
    DISCONNECT_REASONS.map((reason): [[string, string], number] => [
      [protocol, reason],
      disconnects.get(protocol)?.get(reason) ?? 0,
    ]),
  );
}

/** The same for refusals. */
export function rejectCounts({ rejects }: Stats): [[string], number][] {
  return REJECT_REASONS.map((reason) => [[reason], rejects.get(reason) ?? 0]);
}
