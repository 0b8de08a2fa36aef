/** How a connection gets its identity, and what that takes away. */

import type { Identity } from "../authorizer.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError } from "../errors.js";
import * as smallSet from "../small-set.js";
import { revoke } from "./unsubscribe.js";

/** Of a token that is checked, in items of the rate limit: 230 us, where a ping takes 13. */
const TOKEN_COST = { items: 80, bytes: 0 };

/**
 * Applies the token's identity; the caller then registers the connection, unless it closed meanwhile.
 * @throws StarlingError of the authorizer
 */
export async function authenticate(edge: EdgeContext, connection: Connection, token: string): Promise<void> {
  const known = connection.identity;
  // Who comes with a good one has yet to subscribe to all that it wants: the first costs nothing.
  if (known !== undefined) connection.charge(TOKEN_COST);
  let identity: Identity;
  try {
    identity = await connection.app.authorizer.authenticate({ app: connection.app.id, token });
  } catch (error) {
    if (known === undefined) connection.charge(TOKEN_COST);
    throw error;
  }
  if (connection.isClosed) return;
  if (known !== undefined && known.userId !== null && known.userId !== identity.userId) {
    throw new StarlingError(
      "token_invalid",
      "the token belongs to another user: open a new connection for it",
    );
  }
  setIdentity(edge, connection, identity);
}

/**
 * Gives a connection an identity, takes away the subscriptions that it does not cover and that stand by no proof of their
 * own, and shows it in the others.
 */
export function setIdentity(edge: EdgeContext, connection: Connection, identity: Identity): void {
  const formerEnd = connection.nextEnd;
  if (connection.identity === undefined) edge.authenticated(connection);
  edge.hub.users.identify(connection, identity);
  edge.expiry.move(formerEnd, connection.nextEnd, connection);
  for (const channel of [...smallSet.items(connection.channels)]) {
    // What it is told may find that too much waits for it.
    if (connection.isClosed) return;
    const byIdentity = connection.grants?.get(channel)?.byIdentity ?? true;
    if (byIdentity && !identity.maySubscribe(channel.name)) {
      const message = "the identity may no longer subscribe to this channel";
      revoke(edge, connection, channel.name, "identity", message);
    }
  }
  edge.hub.members.showEverywhere(connection);
}
