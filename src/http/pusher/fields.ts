/** Fields of a request's JSON: each is of the type that it must be, or the request is refused naming it. */

import { StarlingError, quote } from "../../core/errors.js";

/** A value as an error shows it. Not as JSON: of one that is nested deep enough there is none. */
export function shown(value: unknown): string {
  if (typeof value !== "object" || value === null) return quote(value);
  return Array.isArray(value) ? "a list" : "an object";
}

/** An object of a body. */
export interface Fields {
  /** In the words of an error: `batch[2].`, or nothing. */
  readonly at: string;
  /** undefined: not given. Some SDKs write null for that. */
  get(name: string): unknown;
}

/** @param elsewhere  has what the object lacks @throws StarlingError bad_request */
export function fieldsOf(json: unknown, at: string, elsewhere?: Pick<Fields, "get">): Fields {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    const which = at === "" ? "the body" : at.slice(0, -1);
    throw new StarlingError("bad_request", `${which} must be a JSON object, not ${shown(json)}`);
  }
  const own = json as Readonly<Record<string, unknown>>;
  return {
    at,
    get: (name) => (Object.hasOwn(own, name) ? (own[name] ?? undefined) : elsewhere?.get(name)),
  };
}

/** @throws StarlingError bad_request */
export function optionalText(fields: Fields, name: string): string | undefined {
  const value = fields.get(name);
  if (value === undefined || typeof value === "string") return value;
  throw new StarlingError("bad_request", `"${fields.at}${name}" must be a string, not ${shown(value)}`);
}

/** @throws StarlingError bad_request */
export function text(fields: Fields, name: string): string {
  const value = optionalText(fields, name);
  if (value !== undefined) return value;
  throw new StarlingError("bad_request", `"${fields.at}${name}" is missing: a string is expected`);
}

/** @param setting  that says `most`, for people @throws StarlingError bad_request where it is no list, empty or too long */
export function list(fields: Fields, name: string, most: number, setting: string): readonly unknown[] {
  const value = fields.get(name);
  if (!Array.isArray(value)) {
    const problem =
      value === undefined ? "is missing: a list is expected" : `must be a list, not ${shown(value)}`;
    throw new StarlingError("bad_request", `"${fields.at}${name}" ${problem}`);
  }
  if (value.length > 0 && value.length <= most) return value as unknown[];
  throw new StarlingError(
    "bad_request",
    `"${fields.at}${name}" has ${value.length} items, 1 to ${most} are allowed (${setting})`,
  );
}
