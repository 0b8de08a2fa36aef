/** How large an answer may be, and what it costs: of history, of missed publications, of members. */

import type { Sender } from "./publication.js";
import type { BusPublication } from "./broker.js";
import type { PresenceMember } from "./presence.js";

/** An answer holds at most this much, so that few of them fit what may wait for a client. */
const PAGE_BYTES_MAX = 262_144;

export function pageBytes({ maxBufferedBytes }: { readonly maxBufferedBytes: number }): number {
  return Math.min(PAGE_BYTES_MAX, Math.floor(maxBufferedBytes / 4));
}

export function costOf(publications: readonly BusPublication[]): { items: number; bytes: number } {
  const bytes = publications.reduce((sum, { payload }) => sum + payload.bytes.length, 0);
  return { items: publications.length, bytes };
}

/** What a member takes of an answer besides its names. */
const MEMBER_BYTES = 32;
/** Of a character of a user's name, at most. */
const CHARACTER_BYTES = 3;

/** As many as fit. */
export function sendersWithin(members: readonly PresenceMember[], maxBytes: number): Sender[] {
  const senders: Sender[] = [];
  let bytes = 0;
  for (const member of members) {
    const { connection, user } = member;
    bytes += MEMBER_BYTES + connection.length + (user?.length ?? 0) * CHARACTER_BYTES;
    if (bytes > maxBytes && senders.length > 0) break;
    senders.push(user === null ? { connection } : { connection, user });
  }
  return senders;
}
