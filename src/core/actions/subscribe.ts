/** Clients subscribe to channels. */

import { checkChannelName } from "../channel-name.js";
import { ChannelRoom } from "../channel-room.js";
import type { JoinOutcome } from "../channel-feed.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError } from "../errors.js";
import type { Position } from "../publication.js";
import { checkMaySubscribe, isSubscribed } from "./checks.js";

/**
 * @param since  where the client stands; undefined: it starts now
 * @param joined  called in the turn in which the connection joins, before what it missed is sent to it;
 *   undefined: the channel has no positions to tell
 * @returns undefined: done; else it is once this resolves, unless the connection closed meanwhile
 * @throws StarlingError unauthorized, bad_channel, forbidden, channel_limit; unavailable or outcome_unknown, by the promise
 */
export function subscribe(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  since: Position | undefined,
  joined: (outcome: JoinOutcome | undefined) => void,
): Promise<void> | undefined {
  const left = connection.leaving?.get(channel);
  if (left !== undefined) {
    return left.then(() => {
      if (!connection.isClosed) return subscribe(edge, connection, channel, since, joined);
    });
  }
  checkChannelName(channel);
  checkMaySubscribe(connection, channel);
  if (!isSubscribed(edge, connection, channel)) checkRoom(edge, connection, channel);
  return edge.hub.join(connection, channel, {
    since,
    answer: (outcome) => {
      // Rights may have been taken away while the bus was awaited.
      checkMaySubscribe(connection, channel);
      countRecovery(edge, outcome);
      edge.registry.put(connection);
      joined(outcome);
    },
  });
}

/** @throws StarlingError channel_limit */
function checkRoom(edge: EdgeContext, connection: Connection, channel: string): void {
  const problem = new ChannelRoom(edge.options, connection.channels).take(channel);
  if (problem !== undefined) throw new StarlingError("channel_limit", problem);
}

export function countRecovery({ stats }: EdgeContext, outcome: JoinOutcome | undefined): void {
  if (outcome?.recovered === true) stats.recovered++;
  else if (outcome?.recovered === false) stats.unrecovered++;
}
