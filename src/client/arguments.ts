/** Arguments that types would refuse, told by name to who has no types. */

import { StarlingError } from "./error.js";

/** @throws StarlingError bad_request for a name that is not known */
export function checkNames(call: string, given: unknown, known: readonly string[], prefix = ""): void {
  if (typeof given !== "object" || given === null) {
    throw new StarlingError("bad_request", `${call}: the options are ${shown(given)}: give an object`);
  }
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new StarlingError(
    "bad_request",
    `${call}: unknown option "${prefix}${unknown}"; options: ${known.map((name) => prefix + name).join(", ")}`,
  );
}

/** @throws StarlingError bad_request */
export function checkFunction(call: string, what: string, given: unknown): void {
  if (typeof given === "function") return;
  throw new StarlingError("bad_request", `${call}: ${what} is ${shown(given)}: give a function`);
}

/** @throws StarlingError bad_request */
export function checkChannel(call: string, channel: unknown): void {
  if (typeof channel === "string") return;
  throw new StarlingError(
    "bad_request",
    `${call}: the channel is ${shown(channel)}: give its name, a string`,
  );
}

/** A value as an error shows it. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
