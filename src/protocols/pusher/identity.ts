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

/** It needs no more time. */
const PROVED = { expiresAt: undefined, atEnd: undefined };

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
  const message = `not authorized within ${authorizeWithinMs} ms: sign in or subscribe by a signature (pusher.authorizeWithinMs)`;
  setIdentity(edge, connection, { ...ANYBODY, expiresAt, atEnd: { reason: "connect_timeout", message } });
}

/** It subscribed by a signature: nobody asks it for more. */
export function proved(connection: ProtocolConnection): void {
  const { identity, edge } = connection;
  if (identity?.expiresAt !== undefined) setIdentity(edge, connection, { ...identity, ...PROVED });
}

/** What the application took from it stays taken. */
export function signedIn(connection: ProtocolConnection, userId: string): void {
  const { identity = ANYBODY, edge } = connection;
  if (identity.userId === userId) proved(connection);
  else setIdentity(edge, connection, { ...identity, ...PROVED, userId });
}
