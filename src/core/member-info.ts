/**
 * What a member shows of itself: JSON whose meaning nobody here knows, as one line of compact text. It is checked where
 * it comes in and stays text until a protocol writes it into a frame.
 */

import { ScanError, skipValue } from "../encoding/json-scan.js";
import { PeerError } from "../encoding/peer-error.js";
import { loneSurrogateAt } from "../encoding/surrogates.js";
import { MEMBER_INFO_BYTES_MAX } from "./limits.js";

/** Its message says what is wrong with the info, to stand behind its name. */
export class MemberInfoError extends PeerError {
  constructor(message: string) {
    super(message);
    this.name = "MemberInfoError";
  }
}

/**
 * @param value  as JSON.parse gives it: numbers are what JavaScript makes of them
 * @returns undefined for null and undefined: it shows nothing
 * @throws MemberInfoError
 */
export function encodeMemberInfo(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  let info: string;
  try {
    info = JSON.stringify(value);
  } catch (error) {
    // A token has room for more levels than the stack.
    if (error instanceof RangeError) throw new MemberInfoError("nests too deep to be written");
    throw error;
  }
  checkMemberInfo(info);
  return info;
}

/**
 * For what was written elsewhere.
 * @throws MemberInfoError unless it is one JSON value in one line, not null, of at most MEMBER_INFO_BYTES_MAX
 */
export function checkMemberInfo(info: string): void {
  const bytes = Buffer.from(info);
  if (bytes.length > MEMBER_INFO_BYTES_MAX) {
    throw new MemberInfoError(
      `has ${bytes.length} bytes as compact JSON, at most ${MEMBER_INFO_BYTES_MAX} are allowed`,
    );
  }
  const alone = loneSurrogateAt(info);
  if (alone !== -1) throw new MemberInfoError(`has a lone surrogate at ${alone}: it has no UTF-8`);
  if (/[\n\r]/.test(info)) throw new MemberInfoError("has a line end: one line is expected");
  if (info === "null") throw new MemberInfoError("is null: leave it out");
  let end: number;
  try {
    end = skipValue(bytes, 0);
  } catch (error) {
    if (error instanceof ScanError) throw new MemberInfoError(`is no JSON: ${error.message}`);
    throw error;
  }
  if (end !== bytes.length) throw new MemberInfoError(`has more than one JSON value, at byte ${end}`);
}
