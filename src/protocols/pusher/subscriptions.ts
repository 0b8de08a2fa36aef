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
import { readMember } from "./member.js";
import { cacheMiss, membersData, subscriptionSucceeded } from "./messages.js";
import { checkAuth } from "./proof.js";
import { pusherSettings } from "./settings.js";
import { stateOf } from "./state.js";

/** By which a subscription that failed is told. */
export class SubscriptionRef {
  constructor(readonly channel: string) {}
}

/** Subscriptions of one connection that wait for Redis at a time: beyond, its later frames wait too. */
const PENDING_MAX = 100;

/** Failures are told with a SubscriptionRef. @throws StarlingError bad_frame */
export function join(
  connection: ProtocolConnection,
  fields: Readonly<Record<string, unknown>>,
): Promise<void> | undefined {
  const channel = textField(fields, "channel");
  const ref = new SubscriptionRef(channel);
  const auth = optionalText(fields, "auth");
  const channelData = optionalText(fields, "channel_data");
  return inTurn(connection, channel, ref, () => joinBy(connection, channel, auth, channelData));
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
  return connection.leaving!.size > PENDING_MAX ? done : undefined;
}

/** @throws StarlingError; by the promise too */
function joinBy(
  connection: ProtocolConnection,
  channel: string,
  auth: string | undefined,
  channelData: string | undefined,
): Promise<void> | undefined {
  const { edge, app } = connection;
  if (channel.startsWith("#")) {
    joinServerChannel(connection, channel);
    return undefined;
  }
  const { maxChannelNameBytes } = pusherSettings(app);
  checkName(channel, maxChannelNameBytes);
  if (!isPrivate(channel)) {
    return subscribeNow(edge, connection, channel, {
      proof: GRANT_BY_IDENTITY,
      joined: (outcome) => told(connection, channel, outcome?.missed.length, undefined),
    });
  }
  checkSigned(connection, channel, auth, channelData);
  if (isPresence(channel)) return joinPresence(connection, channel, grantOf(connection, channelData));
  return subscribeNow(edge, connection, channel, {
    proof: GRANT_BY_IDENTITY,
    joined: (outcome) => {
      proved(connection);
      told(connection, channel, outcome?.missed.length, undefined);
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
  const problem =
    auth === undefined || auth === ""
      ? `"auth" is missing: channel ${quote(channel)} needs <key>:<signature> of ${JSON.stringify(signed)}`
      : checkAuth(app, auth, signed);
  if (problem !== undefined) throw new StarlingError("forbidden", problem);
}

/** Who the client is in a presence channel. @throws StarlingError bad_request, too_large */
function grantOf(connection: ProtocolConnection, channelData: string | undefined): Grant {
  const user = stateOf(connection)?.user;
  if (channelData !== undefined) {
    const { maxPresenceMemberBytes } = pusherSettings(connection.app);
    const { id, idIsNumber, info } = readMember(
      "channel_data",
      channelData,
      "user_id",
      maxPresenceMemberBytes,
    );
    return new Grant({ byIdentity: true, user: id, userIsNumber: idIsNumber, info });
  }
  if (user !== undefined) return new Grant({ byIdentity: true, user: user.id, info: user.info });
  throw new StarlingError(
    "bad_request",
    `"channel_data" is missing: a presence channel needs it, unless the client signed in before`,
  );
}

async function joinPresence(connection: ProtocolConnection, channel: string, grant: Grant): Promise<void> {
  const { edge, app } = connection;
  const { maxPresenceMembers } = pusherSettings(app);
  const key = app.keyOf(channel);
  const known = edge.hub.members.usersKnown(key) ?? (await edge.presence.counts(key)).users;
  if (known >= maxPresenceMembers) {
    // What is known here may be out of date, as after the record was lost.
    const { members, users } = await edge.presence.members(key, READ_LIMIT_MAX);
    if (users >= maxPresenceMembers && !members.some(({ user }) => user === grant.user))
      throw full(channel, maxPresenceMembers);
  }
  if (connection.isClosed) return;
  await subscribeNow(edge, connection, channel, {
    proof: grant,
    membersMost: READ_LIMIT_MAX,
    joined: (outcome, _grant, page) => {
      if (isOneTooMany(connection, page!, grant, maxPresenceMembers)) throw full(channel, maxPresenceMembers);
      proved(connection);
      told(connection, channel, outcome?.missed.length, page);
    },
  });
}

/** Others came at the same time: whose user is not there by another connection goes again. */
function isOneTooMany(
  { id }: ProtocolConnection,
  { members, users }: PresencePage,
  { user }: Grant,
  most: number,
): boolean {
  return users > most && !members.some((member) => member.user === user && member.connection !== id);
}

function full(channel: string, most: number): StarlingError {
  return new StarlingError(
    "channel_limit",
    `presence channel ${quote(channel)} is full: it has ${most} members, which is the limit`,
  );
}

/** @param missed  how many publications follow; undefined: the channel keeps none */
function told(
  connection: ProtocolConnection,
  channel: string,
  missed: number | undefined,
  page: PresencePage | undefined,
): void {
  const data = page === undefined ? undefined : membersData(page.members, page.users);
  connection.send(subscriptionSucceeded(channel, data));
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
