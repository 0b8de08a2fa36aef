/** What several actions check. */

import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError, quote } from "../errors.js";

/** Of a connection that is closed: whether it was when it closed. */
export function isSubscribed(edge: EdgeContext, connection: Connection, channel: string): boolean {
  if (connection.isClosed) return connection.channelNames().includes(channel);
  return edge.hub.channelOf(connection, channel) !== undefined;
}

/** Of a rule that the channel's namespace does not have: `history` or `presence`. */
export function notEnabled(channel: string, what: string): StarlingError {
  return new StarlingError(
    "not_enabled",
    `${what} is off for channel ${quote(channel)}: its namespace does not enable it`,
  );
}
