/** What an error of the SDK means to who writes here. */

import type { StarlingError } from "starling-edge/client";

const TITLES: Partial<Record<StarlingError["code"], string>> = {
  rate_limited: "Too fast",
  unavailable: "Not available now",
  outcome_unknown: "No answer",
  timeout: "No answer in time",
  forbidden: "Not allowed",
  too_large: "Too large",
};

export function titleOf({ code }: StarlingError): string {
  return TITLES[code] ?? "Something went wrong";
}

/** What to say of a message that was not acknowledged. */
export function whatFailed(error: StarlingError): string {
  switch (error.code) {
    case "rate_limited":
      return "Not sent: too fast for this node";
    case "outcome_unknown":
      return "The connection broke: it is unknown whether this was sent";
    case "timeout":
      return error.sent
        ? "No answer: it is unknown whether this was sent"
        : "Not sent: there was no connection";
    case "unavailable":
      return "Not sent: the node cannot reach the others";
    default:
      return `Not sent: ${error.message}`;
  }
}
