/**
 * The channel grammar: 1 to 255 characters from a set that admits Pusher's
 * (`A-Za-z0-9_-=@,.;`) and Centrifugo's (printable ASCII with `:`, `#`, `$`,
 * `/`, `*`, `&` ...) names. A leading `#` marks the server's own channels; of those, `#user:` goes before any user id.
 */

import { StarlingError, quote } from "./errors.js";
import { userIdProblem } from "./user-id.js";

export const CHANNEL_NAME_MAX = 255;

/** Printable ASCII but for space, `"` and `\`. */
const CHANNEL_NAME = /^[!#-[\]-~]+$/;
const OUTSIDE = /[^!#-[\]-~]/;
const USER_CHANNEL = "#user:";

/** @throws StarlingError bad_channel, saying what is wrong and where */
export function checkChannelName(name: unknown): asserts name is string {
  if (typeof name !== "string") {
    const problem =
      name === undefined ? '"channel" is missing' : `"channel" must be a string, not ${quote(name)}`;
    throw new StarlingError("bad_request", problem);
  }
  const user = userOfChannel(name);
  if (user !== undefined) {
    const problem = userIdProblem(user);
    if (problem === undefined) return;
    throw new StarlingError("bad_channel", `the user id in channel ${quote(name)} ${problem}`);
  }
  if (name.length > 0 && name.length <= CHANNEL_NAME_MAX && CHANNEL_NAME.test(name)) return;
  if (name.length === 0) throw new StarlingError("bad_channel", "channel name is empty");
  if (name.length > CHANNEL_NAME_MAX) {
    throw new StarlingError(
      "bad_channel",
      `channel ${quote(name)} has ${name.length} characters, at most ${CHANNEL_NAME_MAX} are allowed`,
    );
  }
  const at = name.search(OUTSIDE);
  const character = String.fromCodePoint(name.codePointAt(at)!);
  throw new StarlingError(
    "bad_channel",
    `channel ${quote(name)} has ${quote(character)} at ${at}: printable ASCII is allowed but for space, " and \\`,
  );
}

export function isChannelName(name: unknown): name is string {
  try {
    checkChannelName(name);
    return true;
  } catch {
    return false;
  }
}

/** Channels that only the server may publish to and subscribe connections to. */
export function isServerChannel(name: string): boolean {
  return name.charCodeAt(0) === 35;
}

/** Channels that nobody may use without a right that names them, or covers them on purpose: no default includes them. */
export function isGuardedChannel(name: string): boolean {
  return name.startsWith("private-") || name.startsWith("presence-");
}

/** The user whose connections `#user:42` reaches, or undefined for any other channel. */
export function userOfChannel(name: string): string | undefined {
  return name.startsWith(USER_CHANNEL) ? name.slice(USER_CHANNEL.length) : undefined;
}
