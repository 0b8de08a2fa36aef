/** Pusher's channels: what their names ask for, and what they are called here. */

import { StarlingError, quote, type ErrorCode } from "../../core/errors.js";

const NAME = /^[A-Za-z0-9_\-=@,.;]+$/;
const SERVER_TO_USER = "#server-to-user-";
const USER = "#user:";
const LETTER_P = "p".charCodeAt(0);
const LETTER_C = "c".charCodeAt(0);

/** Whether a name may be of a kind that has rules of its own: most names are told by their first letter. */
export function mayHaveKind(name: string): boolean {
  const first = name.charCodeAt(0);
  return first === LETTER_P || first === LETTER_C;
}

/** Whether clients prove by a signature that they may subscribe. */
export function isPrivate(name: string): boolean {
  return name.startsWith("private-") || isPresence(name);
}

export function isPresence(name: string): boolean {
  return name.startsWith("presence-");
}

/** Only who subscribes can read its events: they pass through as they are. */
export function isEncrypted(name: string): boolean {
  return name.startsWith("private-encrypted-");
}

/** Whether new subscribers get the last event. */
export function isCache(name: string): boolean {
  return /^(?:private-(?:encrypted-)?|presence-)?cache-/.test(name);
}

/** The user whose connections `#server-to-user-42` reaches; undefined: another channel. */
export function userOfServerChannel(name: string): string | undefined {
  return name.startsWith(SERVER_TO_USER) ? name.slice(SERVER_TO_USER.length) : undefined;
}

/** As the node calls it: a user's channel is `#user:42` there. */
export function ownName(name: string): string {
  const user = userOfServerChannel(name);
  return user === undefined ? name : USER + user;
}

/** As Pusher's clients and back ends call it. */
export function pusherName(name: string): string {
  return name.startsWith(USER) ? SERVER_TO_USER + name.slice(USER.length) : name;
}

/** Whether it is the name of a channel that is not a user's. */
export function isName(name: string, maxBytes: number): boolean {
  return name.length <= maxBytes && NAME.test(name);
}

/**
 * Of a channel that is not a user's.
 * @param tooLong  the code of the error where it is
 * @throws StarlingError bad_channel, too_large
 */
export function checkName(name: string, maxBytes: number, tooLong: ErrorCode = "too_large"): void {
  if (name.length > maxBytes) {
    throw new StarlingError(
      tooLong,
      `channel ${quote(name)} has ${name.length} characters, at most ${maxBytes} are allowed (pusher.maxChannelNameBytes)`,
    );
  }
  if (NAME.test(name)) return;
  throw new StarlingError(
    "bad_channel",
    `channel ${quote(name)} is not a valid name: one or more of A-Z a-z 0-9 _ - = @ , . ; are allowed`,
  );
}

/** As Identifiers makes numbers of connections, and somewhat more: SDKs know no more of it than this. */
const SOCKET_ID = /^\d{1,64}\.\d{1,64}$/;

export function isSocketId(text: string): boolean {
  return SOCKET_ID.test(text);
}

const USER_ID = /^[A-Za-z0-9_\-=@,.;]{1,128}$/;

/** Of a user, in a presence channel or signed in. @throws StarlingError bad_request */
export function checkUserId(id: string): void {
  if (USER_ID.test(id)) return;
  throw new StarlingError(
    "bad_request",
    `user id ${quote(id)} is not valid: 1 to 128 of A-Z a-z 0-9 _ - = @ , . ; are allowed`,
  );
}
