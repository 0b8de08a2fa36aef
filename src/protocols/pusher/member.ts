/** Who a client says it is: channel_data of a presence channel, user_data of a sign-in. Both are JSON in a string. */

import { StarlingError, quote } from "../../core/errors.js";
import { MemberInfoError, checkMemberInfo } from "../../core/member-info.js";
import { fieldSpan } from "../../encoding/json-spans.js";
import { textAt } from "../../encoding/text-cache.js";
import { checkUserId } from "./channels.js";

export interface Claimed {
  readonly id: string;
  /** Whether it was given as a number. */
  readonly idIsNumber: boolean;
}

/** As JSON writes it, but for exponents: others are told it as it came. */
const NUMBER = /^-?\d+(?:\.\d+)?$/;

/**
 * @param name  of the field, for errors
 * @param text  of the field
 * @param idField  in which the user's id stands
 * @throws StarlingError bad_request
 */
export function readClaimed(name: string, text: string, idField: string): Claimed {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new StarlingError("bad_request", `"${name}" is no JSON: ${quote(text)}`);
  }
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    throw new StarlingError("bad_request", `"${name}" must be the JSON of an object, not ${quote(text)}`);
  }
  const id: unknown = Object.hasOwn(data, idField) ? (data as Record<string, unknown>)[idField] : undefined;
  if (typeof id === "string") {
    checkUserId(id);
    return { id, idIsNumber: false };
  }
  if (typeof id !== "number") {
    const problem = id === undefined ? "is missing" : `must be a string or a number, not ${quote(id)}`;
    throw new StarlingError("bad_request", `"${idField}" of "${name}" ${problem}`);
  }
  // Not what JavaScript makes of it: large ids would be those of others.
  const number = fieldText(text, idField)!;
  if (!NUMBER.test(number)) {
    throw new StarlingError(
      "bad_request",
      `"${idField}" of "${name}" is ${quote(number)}: write it in digits`,
    );
  }
  checkUserId(number);
  return { id: number, idIsNumber: true };
}

/**
 * user_info, as it came: numbers in it are not what JavaScript makes of them.
 * @param maxBytes  of id and info together
 * @returns undefined: there is none, or null
 * @throws StarlingError bad_request, too_large
 */
export function readInfo(name: string, text: string, id: string, maxBytes: number): string | undefined {
  // Line ends stand between its parts only: within strings they are escaped.
  const info = fieldText(text, "user_info")?.replace(/[\n\r]/g, " ");
  if (info === undefined || info === "null") return undefined;
  const bytes = id.length + Buffer.byteLength(info);
  if (bytes > maxBytes) {
    throw new StarlingError(
      "too_large",
      `the user's id and user_info of "${name}" have ${bytes} bytes, at most ${maxBytes} are allowed (pusher.maxPresenceMemberBytes)`,
    );
  }
  try {
    checkMemberInfo(info);
  } catch (error) {
    if (!(error instanceof MemberInfoError)) throw error;
    throw new StarlingError("bad_request", `"user_info" of "${name}" ${error.message}`);
  }
  return info;
}

function fieldText(json: string, name: string): string | undefined {
  const bytes = Buffer.from(json);
  const span = fieldSpan(bytes, 0, name);
  return span === undefined ? undefined : textAt(bytes, span.start, span.end);
}
