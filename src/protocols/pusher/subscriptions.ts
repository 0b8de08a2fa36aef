/** Clients subscribe to channels and leave them. */

import { subscribeNow } from "../../core/actions/subscribe.js";
import { answerFirst, unsubscribe } from "../../core/actions/unsubscribe.js";
import { StarlingError, quote } from "../../core/errors.js";
import { GRANT_BY_IDENTITY, Grant } from "../../core/grant.js";
import { READ_LIMIT_MAX } from "../../core/limits.js";
import type { PresencePage } from "../../core/presence.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import { checkName, isCache, isPresence, isPrivate, userOfServerChannel } from "./channels.js";
import { optionalText, textField } from "./client-frames.js";
import { proved } from "./identity.js";
import { readClaimed, readInfo } from "./member.js";
import { cacheMiss, presenceSucceeded, subscriptionSucceeded } from "./messages.js";
import { checkAuth, shown } from "./proof.js";
import { pusherSettings } from "./settings.js";
import { countWaiting, stateOf } from "./state.js";

/** By which a subscription that failed is told. */
export class SubscriptionRef {
  constructor(readonly channel: string) {}
}

/** Frames of one connection that wait for Redis at a time: beyond, all its later ones wait too. */
const WAITING_MAX = 100;

/** Failures are told with a SubscriptionRef. @throws StarlingError bad_frame */
export function join(
  connection: ProtocolConnection,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> | undefined {
  const channel = textField(fields, "channel");
  const ref = new SubscriptionRef(channel);
  return inTurn(connection, channel, ref, () => joinBy(connection, channel, fields));
}

/**
 * What concerns one channel is done in the order in which it came, and what concerns others does not wait for it.
 * @returns undefined: later frames need not wait
 */
function inTurn(
  connection: ProtocolConnection,
  channel: string,
  ref: SubscriptionRef | undefined,
  work: () => Promise<void> | undefined,
): Promise<void> | undefined {
  const before = connection.leaving?.get(channel);
  let working: Promise<void> | undefined;
  try {
    working = before === undefined ? work() : before.then(() => (connection.isClosed ? undefined : work()));
  } catch (error) {
    connection.fail(error, ref);
  }
  if (working === undefined) return undefined;
  const done = working.catch((error: unknown) => connection.fail(error, ref));
  answerFirst(connection, channel, done);
  return countWaiting(connection, done) > WAITING_MAX ? done : undefined;
}

/** @throws StarlingError; by the promise too */
function joinBy(
  connection: ProtocolConnection,
  channel: string,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> | undefined {
  const { edge, app } = connection;
  const auth = optionalText(fields, "auth");
  const channelData = optionalText(fields, "channel_data");
  if (channel.startsWith("#")) {
    joinServerChannel(connection, channel);
    return undefined;
  }
  const { maxChannelNameBytes, maxPresenceMembers } = pusherSettings(app);
  checkName(channel, maxChannelNameBytes);
  const signed = isPrivate(channel);
  if (signed) checkSigned(connection, channel, auth, channelData);
  const presence = isPresence(channel);
  return subscribeNow(edge, connection, channel, {
    proof: presence ? grantOf(connection, channelData) : GRANT_BY_IDENTITY,
    members: presence
      ? { limit: READ_LIMIT_MAX, usersMost: maxPresenceMembers, by: "pusher.maxPresenceMembers" }
      : undefined,
    joined: (outcome, _grant, page) => {
      if (signed) proved(connection);
      told(connection, channel, outcome?.missed.length, page);
    },
  });
}

/** @throws StarlingError forbidden, saying what has to be signed */
function checkSigned(
  { app, edge, id }: ProtocolConnection,
  channel: string,
  auth: string | undefined,
  channelData: string | undefined,
): void {
  const signed = `${edge.identifiers.numberOf(id)}:${channel}${channelData === undefined ? "" : `:${channelData}`}`;
  if (auth === undefined || auth === "") {
    app.counts.signaturesRefused++;
    throw new StarlingError(
      "forbidden",
      `"auth" is missing: channel ${quote(channel)} needs <key>:<signature> of ${shown(signed)}`,
    );
  }
  const problem = checkAuth(app, auth, signed);
  if (problem !== undefined) throw new StarlingError("forbidden", problem);
}

/** Who the client is in a presence channel. @throws StarlingError bad_request, too_large */
function grantOf(connection: ProtocolConnection, channelData: string | undefined): Grant {
  const { maxPresenceMemberBytes } = pusherSettings(connection.app);
  if (channelData !== undefined) {
    const { id, idIsNumber } = readClaimed("channel_data", channelData, "user_id");
    const info = readInfo("channel_data", channelData, id, maxPresenceMemberBytes);
    return new Grant({ byIdentity: true, user: id, userIsNumber: idIsNumber, info });
  }
  const user = stateOf(connection)?.user;
  if (user === undefined) {
    throw new StarlingError(
      "bad_request",
      `"channel_data" is missing: a presence channel needs it, unless the client signed in before`,
    );
  }
  if (user.problem !== undefined) throw user.problem;
  return new Grant({ byIdentity: true, user: user.id, info: user.info });
}

/** @param missed  how many publications follow; undefined: the channel keeps none */
function told(
  connection: ProtocolConnection,
  channel: string,
  missed: number | undefined,
  page: PresencePage | undefined,
): void {
  const frame = page === undefined ? subscriptionSucceeded(channel) : presenceSucceeded(channel, page);
  // A short frame may be answered by a long one.
  if (page !== undefined) connection.charge({ items: page.members.length, bytes: frame.length });
  connection.send(frame);
  if (missed === 0 && isCache(channel)) connection.send(cacheMiss(channel));
}

/** A user hears its own channel from its sign-in on. @throws StarlingError forbidden */
function joinServerChannel(connection: ProtocolConnection, channel: string): void {
  const user = userOfServerChannel(channel);
  if (user !== undefined && user === stateOf(connection)?.user?.id) {
    connection.send(subscriptionSucceeded(channel));
    return;
  }
  throw new StarlingError(
    "forbidden",
    user === undefined
      ? `channel ${quote(channel)} is reserved for the server`
      : `channel ${quote(channel)} is that of user ${quote(user)}: sign in as that user first`,
  );
}

/** @throws StarlingError bad_frame, bad_channel */
export function leave(
  connection: ProtocolConnection,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> | undefined {
  const channel = textField(fields, "channel");
  // A user's channel goes with the user.
  if (channel.startsWith("#")) return undefined;
  return inTurn(connection, channel, undefined, () => leaveNow(connection, channel));
}

function leaveNow(connection: ProtocolConnection, channel: string): undefined {
  try {
    unsubscribe(connection.edge, connection, channel);
  } catch (error) {
    // Who is not there need not leave: clients do so after a subscription that failed.
    if (!(error instanceof StarlingError && error.code === "not_subscribed")) throw error;
  }
}
