/**
 * User ids: what `sub` of a token may say, what follows `#user:` in a channel's name, and what the API's paths name.
 * Any text that every encoding carries unchanged and that forges no line of a log. Compared unit by unit: no
 * normalization, so "é" in one and in two code points are two users.
 */

import { loneSurrogateAt } from "../encoding/surrogates.js";

export const USER_ID_MAX = 128;

/** For documents; userIdProblem is what decides. */
export const USER_ID_PATTERN = "[^\\p{Cc}\\p{Cs}\\p{Zl}\\p{Zp}]+";

/** Controls and line separators. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}]/u;

/** @returns what is wrong, to follow what has the id in a sentence; undefined: nothing */
export function userIdProblem(id: string): string | undefined {
  if (id.length === 0) return "is empty";
  if (id.length > USER_ID_MAX) return `has ${id.length} characters, at most ${USER_ID_MAX} are allowed`;
  const unsafe = id.search(UNSAFE);
  if (unsafe !== -1) return `has a control character at ${unsafe}`;
  const lone = loneSurrogateAt(id);
  return lone === -1 ? undefined : `has a lone surrogate at ${lone}`;
}
