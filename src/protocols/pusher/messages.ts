/** Frames of the server that are no publications, as text. `data` is JSON in a string, but for errors. */

import type { PresenceMember, PresencePage } from "../../core/presence.js";

/** Names that events of clients and back ends do not have. */
export function isReservedEvent(event: string): boolean {
  return event.startsWith("pusher:") || event.startsWith("pusher_internal:");
}

export const PONG = frame({ event: "pusher:pong", data: "{}" });
export const PING = frame({ event: "pusher:ping", data: "{}" });

export function connectionEstablished(socketId: string, activityTimeoutSeconds: number): Uint8Array {
  const data = `{\\"socket_id\\":\\"${socketId}\\",\\"activity_timeout\\":${activityTimeoutSeconds}}`;
  return Buffer.from(`{"event":"pusher:connection_established","data":"${data}"}`);
}

/** @param code  null: it has none */
export function errorFrame(code: number | null, message: string): Uint8Array {
  return frame({ event: "pusher:error", data: { code, message } });
}

export interface SubscriptionError {
  readonly type: "AuthError" | "LimitReached" | "BadRequest" | "ServerError";
  readonly error: string;
  readonly status: number;
}

export function subscriptionError(channel: string, error: SubscriptionError): Uint8Array {
  return frame({ event: "pusher:subscription_error", channel, data: error });
}

export function subscriptionSucceeded(channel: string): Uint8Array {
  return succeeded(channel, "{}");
}

/** Of lists of members: all who join a channel in one moment are given the same. */
const framesOfLists = new WeakMap<readonly PresenceMember[], ListFrame>();

interface ListFrame {
  readonly channel: string;
  readonly users: number;
  readonly bytes: Uint8Array;
}

/** With who is there. */
export function presenceSucceeded(
  channel: string,
  { members, users }: Pick<PresencePage, "members" | "users">,
): Uint8Array {
  const made = framesOfLists.get(members);
  if (made?.channel === channel && made.users === users) return made.bytes;
  const bytes = succeeded(channel, membersData(members, users));
  framesOfLists.set(members, { channel, users, bytes });
  return bytes;
}

/** @param data  JSON */
function succeeded(channel: string, data: string): Uint8Array {
  return frame({ event: "pusher_internal:subscription_succeeded", channel, data });
}

export function cacheMiss(channel: string): Uint8Array {
  return frame({ event: "pusher:cache_miss", channel });
}

/** @param userData  as the client sent it */
export function signinSuccess(userData: string): Uint8Array {
  return frame({ event: "pusher:signin_success", data: JSON.stringify({ user_data: userData }) });
}

export function subscriptionCount(channel: string, count: number): Uint8Array {
  const data = `{"subscription_count":${count}}`;
  return frame({ event: "pusher_internal:subscription_count", channel, data });
}

export function memberAdded(channel: string, member: PresenceMember): Uint8Array {
  const data = `{"user_id":${idOf(member)},"user_info":${member.info ?? "null"}}`;
  return frame({ event: "pusher_internal:member_added", channel, data });
}

export function memberRemoved(channel: string, member: PresenceMember): Uint8Array {
  return frame({ event: "pusher_internal:member_removed", channel, data: `{"user_id":${idOf(member)}}` });
}

/**
 * Who is there, as `data` of subscription_succeeded: each user once, by the first of its connections. Put together as
 * text: an id may be `__proto__`, and what is shown stays as it came.
 */
function membersData(members: readonly PresenceMember[], users: number): string {
  const known = new Set<string>();
  const ids: string[] = [];
  const hash: string[] = [];
  for (const member of members) {
    const name = userOf(member);
    if (known.has(name)) continue;
    known.add(name);
    ids.push(idOf(member));
    hash.push(`${quoted(name)}:${member.info ?? "null"}`);
  }
  return `{"presence":{"ids":[${ids.join(",")}],"hash":{${hash.join(",")}},"count":${users}}}`;
}

/** A native client without a user is one by its connection. */
function userOf({ user, connection }: PresenceMember): string {
  return user ?? connection;
}

/** In the JSON type in which it was given. */
function idOf(member: PresenceMember): string {
  return member.userIsNumber === true ? userOf(member) : quoted(userOf(member));
}

/** Most ids need no escapes. */
function quoted(text: string): string {
  return /^[\w.=@,;-]*$/.test(text) ? `"${text}"` : JSON.stringify(text);
}

function frame(event: object): Uint8Array {
  return Buffer.from(JSON.stringify(event));
}
