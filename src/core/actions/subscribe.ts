/** Clients subscribe to channels. */

import { checkChannelName } from "../channel-name.js";
import { ChannelRoom } from "../channel-room.js";
import type { JoinOutcome } from "../channel-feed.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError } from "../errors.js";
import type { Grant } from "../grant.js";
import type { MembersAsked } from "../members.js";
import type { PresencePage } from "../presence.js";
import type { Position } from "../publication.js";
import { isSubscribed } from "./checks.js";
import { askToSubscribe, checkStands, identityOf } from "./rights.js";
import { answerFirst, endedByApplication, notSubscribed, revokedDuring } from "./unsubscribe.js";

export interface Subscribing {
  /** Where the client stands; undefined: it starts now. */
  readonly since?: Position | undefined;
  /**
   * Of the right to subscribe, for the app's authorizer; or the Grant itself, where the protocol has checked what the
   * client brought.
   */
  readonly proof?: unknown;
  /**
   * The answer has the members, the connection itself among them, and it is told of all who come or go after these. Of a
   * channel that has presence.
   */
  readonly members?: MembersAsked | undefined;
  /**
   * Called in the turn in which the connection joins, before what it missed is sent to it.
   * @param outcome  undefined: the channel has no positions to tell
   * @param grant  by which it subscribes
   * @param members  where they were asked for
   * @throws StarlingError: it does not join
   */
  readonly joined: (
    outcome: JoinOutcome | undefined,
    grant: Grant,
    members: PresencePage | undefined,
  ) => void;
}

/**
 * @returns undefined: done; else it is once this resolves, unless the connection closed meanwhile
 * @throws StarlingError unauthorized, bad_channel, forbidden, token_expired, channel_limit, and what the authorizer says;
 *   unavailable or outcome_unknown, by the promise
 */
export function subscribe(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  subscribing: Subscribing,
): Promise<void> | undefined {
  const left = connection.leaving?.get(channel);
  if (left !== undefined) {
    return left.then(() => {
      if (!connection.isClosed) return subscribe(edge, connection, channel, subscribing);
    });
  }
  return subscribeNow(edge, connection, channel, subscribing);
}

/** As subscribe, for a protocol that itself takes what concerns a channel in order: nothing is waited for before. */
export function subscribeNow(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  subscribing: Subscribing,
): Promise<void> | undefined {
  checkChannelName(channel);
  const grant = askToSubscribe(connection, channel, subscribing.proof);
  if (!(grant instanceof Promise)) return join(edge, connection, channel, subscribing, grant);
  const revoked = revokedDuring(connection, grant);
  const done = grant.then((granted) => {
    if (revoked.has(channel)) throw endedByApplication(channel);
    if (!connection.isClosed) return join(edge, connection, channel, subscribing, granted);
  });
  answerFirst(
    connection,
    channel,
    done.catch(() => undefined),
  );
  return done;
}

function join(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  { since, members: asked, joined }: Subscribing,
  grant: Grant,
): Promise<void> | undefined {
  checkRoom(edge, connection, channel);
  /** undefined: nothing was waited for. */
  let revoked: ReadonlySet<string> | undefined;
  const joining = edge.hub.join(connection, channel, {
    since,
    grant,
    members: asked,
    answer: (outcome, members) => {
      // Rights may have been taken away, and room, while the bus was awaited.
      checkStands(connection, channel, grant);
      if (revoked !== undefined) checkRoom(edge, connection, channel);
      if (revoked?.has(channel) === true) throw endedByApplication(channel);
      countRecovery(edge, outcome);
      edge.registry.put(connection);
      joined(outcome, grant, members);
    },
  });
  if (joining !== undefined) revoked = revokedDuring(connection, joining);
  return joining;
}

/**
 * Replaces the right by which a connection subscribes to a channel, before it expires for instance. Nothing is sent
 * again. A new one that is refused leaves the former as it is.
 * @param proof  as that of `subscribe`
 * @returns what counts from now on
 * @throws StarlingError unauthorized, bad_channel, not_subscribed, forbidden, token_expired, and what the authorizer says
 */
export function renew(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  proof: unknown,
): Grant | Promise<Grant> {
  checkChannelName(channel);
  identityOf(connection);
  // Nobody is asked about what is not there.
  if (!isSubscribed(edge, connection, channel)) throw notSubscribed(channel);
  const grant = askToSubscribe(connection, channel, proof);
  if (!(grant instanceof Promise)) return replace(edge, connection, channel, grant);
  return grant.then((granted) => replace(edge, connection, channel, granted));
}

function replace({ hub }: EdgeContext, connection: Connection, channel: string, grant: Grant): Grant {
  if (connection.isClosed) return grant;
  checkStands(connection, channel, grant);
  const local = hub.channelOf(connection, channel);
  if (local === undefined) throw notSubscribed(channel);
  hub.members.regrant(connection, local, grant);
  return grant;
}

/** @throws StarlingError channel_limit */
function checkRoom(edge: EdgeContext, connection: Connection, channel: string): void {
  if (isSubscribed(edge, connection, channel)) return;
  const problem = new ChannelRoom(edge.options, connection.channels).take(channel);
  if (problem !== undefined) throw new StarlingError("channel_limit", problem);
}

export function countRecovery({ stats }: EdgeContext, outcome: JoinOutcome | undefined): void {
  if (outcome?.recovered === true) stats.recovered++;
  else if (outcome?.recovered === false) stats.unrecovered++;
}
