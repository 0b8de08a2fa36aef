/** Clients leave channels, or lose them. */

import { checkChannelName } from "../channel-name.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError, quote } from "../errors.js";
import type { RevokeReason } from "../notices.js";
import { identityOf } from "./rights.js";

const NONE: readonly Set<string>[] = [];

/**
 * Nothing more of the channel is sent to the connection once this returns. That it is recorded tells
 * `edge.registry.recorded()`: a node killed before would leave the channel to whoever resumes the session.
 * @throws StarlingError unauthorized, bad_channel, not_subscribed
 */
export function unsubscribe(edge: EdgeContext, connection: Connection, channel: string): void {
  identityOf(connection);
  checkChannelName(channel);
  if (!edge.hub.leave(connection, channel)) {
    throw notSubscribed(channel);
  }
  if (!connection.isClosed) edge.registry.put(connection);
}

export function notSubscribed(channel: string): StarlingError {
  return new StarlingError("not_subscribed", `this connection is not subscribed to ${quote(channel)}`);
}

/** Who subscribes to the channel next is answered once `answered` settled; it must not reject. */
export function answerFirst(connection: Connection, channel: string, answered: Promise<void>): void {
  const leaving = connection.leaving ?? new Map<string, Promise<void>>();
  connection.leaving = leaving.set(channel, answered);
  void answered.then(() => {
    if (leaving.get(channel) === answered) leaving.delete(channel);
    if (leaving.size === 0) connection.leaving = undefined;
  });
}

/**
 * @param until  something of the connection that is to join channels waits for this
 * @returns the channels that the application takes away meanwhile, which it must not join
 */
export function revokedDuring(connection: Connection, until: Promise<unknown>): ReadonlySet<string> {
  const revoked = new Set<string>();
  const all = (connection.revoked ??= new Set());
  all.add(revoked);
  const done = (): void => {
    all.delete(revoked);
    if (all.size === 0) connection.revoked = undefined;
  };
  void until.then(done, done);
  return revoked;
}

export function endedByApplication(channel: string): StarlingError {
  return new StarlingError("forbidden", `the application ended the subscription to ${quote(channel)}`);
}

/** Unsubscribes a connection that did not ask for it, and tells it; also of a channel that it is about to join again. */
export function revoke(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  reason: RevokeReason,
  message: string,
): void {
  // By a right that ended, or an identity, others are not meant: what waits asks for its own.
  if (reason === "application") for (const revoked of connection.revoked ?? NONE) revoked.add(channel);
  const restoring = connection.restoring.filter((name) => name !== channel);
  const wasRestoring = restoring.length < connection.restoring.length;
  if (wasRestoring) connection.restoring = restoring;
  if (!edge.hub.leave(connection, channel) && !wasRestoring) return;
  connection.notify({ kind: "revoked", channel, reason, message });
  if (!connection.isClosed) edge.registry.put(connection);
}
