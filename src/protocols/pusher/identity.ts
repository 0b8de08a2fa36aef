/** Who a Pusher client is: nobody, until it signs in. Its rights are signatures, which are checked one by one. */

import { setIdentity } from "../../core/actions/authenticate.js";
import type { Identity } from "../../core/authorizer.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import { pusherSettings } from "./settings.js";

/** Whatever needs a signature has been checked before core is asked: no channel is beyond it. */
const covers = (): boolean => true;

const ANYBODY: Identity = Object.freeze({
  userId: null,
  expiresAt: undefined,
  maySubscribe: covers,
  mayPublish: covers,
});

/** Where an app asks its clients to prove who they are, they have a time for it. */
export function beginAsAnybody(connection: ProtocolConnection): void {
  const { app, edge } = connection;
  const { authorizeWithinMs } = pusherSettings(app);
  if (authorizeWithinMs === 0) {
    setIdentity(edge, connection, ANYBODY);
    return;
  }
  // Core closes it that much later than it says.
  const { clockToleranceSeconds } = app.authorizer;
  const expiresAt = (Date.now() + authorizeWithinMs) / 1000 - clockToleranceSeconds;
  setIdentity(edge, connection, { ...ANYBODY, expiresAt });
}

/** It subscribed by a signature: nobody asks it for more. */
export function proved(connection: ProtocolConnection): void {
  const { identity, edge } = connection;
  if (identity?.expiresAt !== undefined) setIdentity(edge, connection, { ...identity, expiresAt: undefined });
}

/** What the application took from it stays taken. */
export function signedIn(connection: ProtocolConnection, userId: string): void {
  const { identity = ANYBODY, edge } = connection;
  if (identity.userId === userId) proved(connection);
  else setIdentity(edge, connection, { ...identity, userId, expiresAt: undefined });
}
