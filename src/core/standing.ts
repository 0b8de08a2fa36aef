import type { Standing } from "../protocol/messages.js";
import type { JoinOutcome } from "./channel-feed.js";

/** What a subscriber is told of where it stands. */
export function standingOf({ recovered, position, missed }: JoinOutcome): Standing {
  return {
    offset: position.offset,
    epoch: position.epoch,
    ...(recovered === undefined ? {} : { recovered }),
    ...(recovered === undefined && missed.length === 0 ? {} : { missed: missed.length }),
  };
}
