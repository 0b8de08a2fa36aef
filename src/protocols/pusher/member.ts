/** Who a client says it is: channel_data of a presence channel, user_data of a sign-in. Both are JSON in a string. */

import { StarlingError, quote } from "../../core/errors.js";
import { MemberInfoError, checkMemberInfo } from "../../core/member-info.js";
import { fieldSpan } from "../../encoding/json-spans.js";
import { textAt } from "../../encoding/text-cache.js";
import { checkUserId } from "./channels.js";

export interface ClaimedMember {
  readonly id: string;
  /** Whether it was given as a number. */
  readonly idIsNumber: boolean;
  /** JSON of user_info; undefined: none, or null. */
  readonly info: string | undefined;
}

/**
 * @param name  of the field, for errors
 * @param idField  in which the user's id stands
 * @param maxBytes  of id and info together
 * @throws StarlingError bad_request, too_large
 */
export function readMember(name: string, text: string, idField: string, maxBytes: number): ClaimedMember {
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
  if (typeof id !== "string" && typeof id !== "number") {
    const problem = id === undefined ? "is missing" : `must be a string or a number, not ${quote(id)}`;
    throw new StarlingError("bad_request", `"${idField}" of "${name}" ${problem}`);
  }
  checkUserId(String(id));
  const info = infoIn(name, text);
  const bytes = String(id).length + (info === undefined ? 0 : Buffer.byteLength(info));
  if (bytes > maxBytes) {
    throw new StarlingError(
      "too_large",
      `${idField} and user_info of "${name}" have ${bytes} bytes, at most ${maxBytes} are allowed`,
    );
  }
  return { id: String(id), idIsNumber: typeof id === "number", info };
}

/** As it came: numbers are not what JavaScript makes of them. */
function infoIn(name: string, text: string): string | undefined {
  const bytes = Buffer.from(text);
  const span = fieldSpan(bytes, 0, "user_info");
  if (span === undefined) return undefined;
  // Line ends stand between its parts only: within strings they are escaped.
  const info = textAt(bytes, span.start, span.end).replace(/[\n\r]/g, " ");
  if (info === "null") return undefined;
  try {
    checkMemberInfo(info);
  } catch (error) {
    if (!(error instanceof MemberInfoError)) throw error;
    throw new StarlingError("bad_request", `"user_info" of "${name}" ${error.message}`);
  }
  return info;
}
