import { ReplyError } from "ioredis";

import { StarlingError } from "../../core/errors.js";
import { SLOTS_UNKNOWN } from "./client.js";

/**
 * What a failed command means to whoever asked.
 * @param sent  whether the client was ready when the command was given to it
 * @returns unavailable: Redis did not run it. outcome_unknown: it was written and the answer is missing
 */
export function toStarlingError(error: unknown, sent: boolean): StarlingError {
  if (error instanceof StarlingError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (!sent || reason === SLOTS_UNKNOWN || reason.startsWith("Stream isn't writeable")) {
    return new StarlingError("unavailable", "Redis is unreachable: nothing was sent", { cause: error });
  }
  // A Cluster that sends a command from node to node has not run it.
  if (error instanceof ReplyError || reason.startsWith("Too many Cluster redirections")) {
    return new StarlingError("unavailable", `Redis refused the command: ${reason}`, { cause: error });
  }
  // ioredis's name for "the connection closed" speaks of retries that we do not make.
  const why =
    error instanceof Error && error.name === "MaxRetriesPerRequestError" ? "connection lost" : reason;
  return new StarlingError(
    "outcome_unknown",
    `Redis did not answer what was sent (${why}): the outcome is unknown`,
    {
      cause: error,
    },
  );
}
