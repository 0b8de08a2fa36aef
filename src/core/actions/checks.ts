/** What several actions check. */

import type { Identity } from "../authorizer.js";
import { isServerChannel } from "../channel-name.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError, quote } from "../errors.js";
import * as smallSet from "../small-set.js";

/** @throws StarlingError unauthorized */
export function identityOf({ identity }: Connection): Identity {
  if (identity !== undefined) return identity;
  throw new StarlingError("unauthorized", "this connection is not authenticated");
}

/**
 * @param channel  whose name was checked
 * @throws StarlingError unauthorized, forbidden
 */
export function checkMaySubscribe(connection: Connection, channel: string): void {
  const identity = identityOf(connection);
  if (isServerChannel(channel)) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(channel)} is reserved for the server: clients cannot subscribe to it`,
    );
  }
  if (!identity.maySubscribe(channel)) {
    throw new StarlingError(
      "forbidden",
      `the token's "channels" claim does not cover channel ${quote(channel)}`,
    );
  }
}

export function isSubscribed(edge: EdgeContext, connection: Connection, channel: string): boolean {
  const local = edge.hub.channels.get(connection.app.keyOf(channel));
  return local !== undefined && smallSet.has(connection.channels, local);
}

/** Of a rule that the channel's namespace does not have: `history` or `presence`. */
export function notEnabled(channel: string, what: string): StarlingError {
  return new StarlingError(
    "not_enabled",
    `${what} is off for channel ${quote(channel)}: its namespace does not enable it`,
  );
}
