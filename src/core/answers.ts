/** How large an answer may be, and what it costs: of history, of missed publications, of members. */

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

/** What a member takes of an answer besides its names and its info. */
const MEMBER_BYTES = 32;
/** Of a character of a user's name, at most. */
const CHARACTER_BYTES = 3;
/** What info takes besides itself. */
const INFO_BYTES = 9;

/** Whom an answer names. */
export interface MembersWithin {
  readonly members: readonly PresenceMember[];
  /** Of their infos. */
  readonly infoBytes: number;
}

/** As many as fit, each with its info. Where not all do, each user is named before anybody's second connection. */
export function membersWithin(members: readonly PresenceMember[], maxBytes: number): MembersWithin {
  const inOrder = firstWithin(members, maxBytes);
  return inOrder.members.length === members.length ? inOrder : firstWithin(usersFirst(members), maxBytes);
}

function usersFirst(members: readonly PresenceMember[]): readonly PresenceMember[] {
  const named = new Set<string>();
  const first: PresenceMember[] = [];
  const others: PresenceMember[] = [];
  for (const member of members) {
    const { user } = member;
    if (user !== null && named.has(user)) others.push(member);
    else first.push(member);
    if (user !== null) named.add(user);
  }
  return [...first, ...others];
}

function firstWithin(members: readonly PresenceMember[], maxBytes: number): MembersWithin {
  let bytes = 0;
  let infoBytes = 0;
  for (let count = 0; count < members.length; count++) {
    const { connection, user, info } = members[count]!;
    const shown = info === undefined ? 0 : Buffer.byteLength(info) + INFO_BYTES;
    bytes += MEMBER_BYTES + connection.length + (user?.length ?? 0) * CHARACTER_BYTES + shown;
    if (bytes > maxBytes && count > 0) return { members: members.slice(0, count), infoBytes };
    infoBytes += shown;
  }
  return { members, infoBytes };
}
