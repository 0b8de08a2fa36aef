/**
 * The channel grammar: 1 to 255 characters from a set that admits Pusher's
 * (`A-Za-z0-9_-=@,.;`) and Centrifugo's (printable ASCII with `:`, `#`, `$`,
 * `/`, `*`, `&` ...) names. A leading `#` marks the server's own channels.
 */

import { StarlingError, quote } from "./errors.js";

export const CHANNEL_NAME_MAX = 255;

/** Printable ASCII but for space, `"` and `\`: a name never needs escaping in JSON. */
const CHANNEL_NAME = /^[!#-[\]-~]+$/;
const OUTSIDE = /[^!#-[\]-~]/;

/** @throws StarlingError bad_channel, saying what is wrong and where */
export function checkChannelName(name: unknown): asserts name is string {
  if (typeof name !== "string") {
    const problem =
      name === undefined ? '"channel" is missing' : `"channel" must be a string, not ${quote(name)}`;
    throw new StarlingError("bad_request", problem);
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

/** Channels that only the server may publish to and subscribe connections to. */
export function isServerChannel(name: string): boolean {
  return name.charCodeAt(0) === 35;
}

const USER_CHANNEL = "#user:";

/** The user whose connections `#user:42` reaches, or undefined for any other channel. */
export function userOfChannel(name: string): string | undefined {
  return name.startsWith(USER_CHANNEL) ? name.slice(USER_CHANNEL.length) : undefined;
}
