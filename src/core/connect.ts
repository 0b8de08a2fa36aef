/** How a connection gets its identity and its session: connect, refresh, and what the application changes. */

import { StarlingError } from "../protocol/errors.js";
import type { Command, ConnectReply, Position, WelcomeMessage } from "../protocol/messages.js";
import { endOf, type Identity } from "./authorizer.js";
import { ChannelRoom } from "./channel-room.js";
import { checkMaySubscribe, countRecovery, identityOf, isSubscribed, reply } from "./command-checks.js";
import type { Connection } from "./connection.js";
import type { EdgeContext, Terms } from "./context.js";
import * as few from "./few.js";
import { standingOf } from "./standing.js";

/** One for all: a list each would cost a node that holds very many connections. */
const NONE: readonly string[] = [];

/** What every connection hears first. */
export function welcome({ id, sessionId, resumeToken }: Connection, terms: Terms): WelcomeMessage {
  const { node, heartbeat, limits, authenticate } = terms;
  return {
    type: "welcome",
    node,
    connection: id,
    session: sessionId,
    resume: resumeToken,
    heartbeat,
    limits,
    authenticate,
  };
}

/** Of a token that is checked, in items of the rate limit: 230 us, where a ping takes 13. */
const TOKEN_COST = { items: 80, bytes: 0 };

/**
 * Takes on what a token proves; the caller has it registered, unless it closed meanwhile.
 * @throws StarlingError of the authorizer
 */
export async function authenticate(edge: EdgeContext, connection: Connection, token: string): Promise<void> {
  const known = connection.identity;
  // Who comes with a good one has yet to subscribe to all that it wants: the first costs nothing.
  if (known !== undefined) connection.charge(TOKEN_COST);
  let identity: Identity;
  try {
    identity = await edge.authorizer.authenticate({ app: connection.app, token });
  } catch (error) {
    if (known === undefined) connection.charge(TOKEN_COST);
    throw error;
  }
  if (connection.isClosed) return;
  if (known !== undefined && known.userId !== null && known.userId !== identity.userId) {
    throw new StarlingError("token_invalid", "the token is another user's: open a new connection for it");
  }
  adopt(edge, connection, identity);
}

/** A client that gives its token with the upgrade may not know how to send another. Does not reject. */
export async function authenticateAtUpgrade(
  edge: EdgeContext,
  connection: Connection,
  token: string,
): Promise<void> {
  try {
    await authenticate(edge, connection, token);
    if (!connection.isClosed) edge.registry.put(connection);
  } catch (error) {
    connection.fail(error, undefined);
    if (!(error instanceof StarlingError)) return;
    if (error.code === "token_invalid" || error.code === "token_expired") connection.close(error.code);
  }
}

/** Gives a connection an identity and takes away the subscriptions that it does not cover. */
export function adopt(edge: EdgeContext, connection: Connection, identity: Identity): void {
  const formerEnd = endOf(edge.authorizer, connection.identity);
  if (formerEnd !== undefined) edge.expiry.cancel(formerEnd, connection);
  if (connection.identity === undefined) edge.authenticated(connection);
  edge.hub.users.identify(connection, identity);
  const end = endOf(edge.authorizer, identity);
  if (end !== undefined) edge.expiry.at(end, connection);
  for (const { name } of [...few.items(connection.channels)]) {
    if (!identity.maySubscribe(name)) {
      takeAway(edge, connection, name, "the right to this channel was withdrawn");
    }
  }
}

/** Unsubscribes a connection that did not ask for it, and tells it. */
export function takeAway(edge: EdgeContext, connection: Connection, channel: string, message: string): void {
  if (!edge.hub.leave(connection, channel)) return;
  connection.send({ type: "unsubscribed", channel, code: "forbidden", message });
  edge.registry.put(connection);
}

/** @throws StarlingError of the authorizer; unavailable, unknown */
export async function connect(edge: EdgeContext, connection: Connection, command: Command): Promise<void> {
  if (command.token !== undefined) await authenticate(edge, connection, command.token);
  if (connection.isClosed) return;
  const identity = identityOf(connection);
  const resumption =
    command.resume === undefined ? undefined : await resume(edge, connection, identity, command.resume);
  if (connection.isClosed) return;
  const restored = resumption?.restored ?? NONE;
  connection.restoring = restored;
  const recovering = restored.filter((channel) => edge.rulesOf(channel).recovery);
  await restore(
    edge,
    connection,
    restored.filter((channel) => !recovering.includes(channel)),
  );
  connection.restoring = recovering;
  if (connection.isClosed) return;
  edge.registry.put(connection);
  const { userId } = identity;
  const answer: ConnectReply = {
    session: connection.sessionId,
    resume: connection.resumeToken,
    resumed: resumption?.resumed ?? false,
    ...(resumption?.reason === undefined ? {} : { reason: resumption.reason }),
    ...(userId === null ? {} : { user: userId }),
    ...lifeOf(identity),
    channels: [...connection.channelNames(), ...recovering],
    ...(recovering.length === 0 ? {} : { recovering }),
    ...(resumption === undefined || resumption.refused.length === 0 ? {} : { refused: resumption.refused }),
  };
  reply(connection, command.id, answer);
  await recover(edge, connection, recovering, command.positions);
}

interface Resumption {
  readonly resumed: boolean;
  readonly reason?: string;
  readonly refused: readonly string[];
  /** Channels to join again. */
  readonly restored: readonly string[];
}

/** @throws StarlingError unavailable, unknown */
async function resume(
  edge: EdgeContext,
  connection: Connection,
  identity: Identity,
  token: string,
): Promise<Resumption> {
  const dot = token.lastIndexOf(".");
  const session = token.slice(0, dot);
  if (dot <= 0 || session === connection.sessionId) {
    throw new StarlingError("bad_request", '"resume" is not a token of another session');
  }
  const result = await edge.registry.take(session, token.slice(dot + 1), connection);
  if (connection.isClosed) return { resumed: false, refused: [], restored: [] };
  if (result.taken === undefined) return { resumed: false, reason: result.reason, refused: [], restored: [] };
  const { taken } = result;
  connection.sessionId = taken.session;
  const refused: string[] = [];
  const restored: string[] = [];
  const room = new ChannelRoom(edge.options, connection.channels);
  for (const channel of taken.channels) {
    if (isSubscribed(edge, connection, channel)) continue;
    if (!identity.maySubscribe(channel) || room.take(channel) !== undefined) refused.push(channel);
    else restored.push(channel);
  }
  edge.stats.resumed++;
  return { resumed: true, refused, restored };
}

/** Joins the channels of a resumed session that have no positions to tell. */
async function restore(
  edge: EdgeContext,
  connection: Connection,
  channels: readonly string[],
): Promise<void> {
  const joins = channels.map(async (channel) =>
    edge.hub.join(connection, channel, { answer: () => undefined }),
  );
  // What could not be joined is missing from the reply's channels: the client asks again.
  for (const result of await Promise.allSettled(joins)) {
    if (result.status === "rejected") {
      edge.log.warn({ err: result.reason as unknown }, "a channel was not restored");
    }
  }
}

/** Joins those that have, each from the client's position, and tells it where it stands. */
async function recover(
  edge: EdgeContext,
  connection: Connection,
  channels: readonly string[],
  positions: ReadonlyMap<string, Position> | undefined,
): Promise<void> {
  const join = async (channel: string): Promise<void> => {
    try {
      await edge.hub.join(connection, channel, {
        since: positions?.get(channel),
        answer: (outcome) => {
          checkMaySubscribe(identityOf(connection), channel);
          // A client that gives no position where there was a session missed what it cannot name.
          const told =
            outcome?.recovered === undefined && outcome !== undefined
              ? { ...outcome, recovered: false }
              : outcome;
          countRecovery(edge, told);
          if (told !== undefined) connection.send({ type: "subscribed", channel, ...standingOf(told) });
        },
      });
    } catch (error) {
      if (!(error instanceof StarlingError)) throw error;
      connection.send({ type: "unsubscribed", channel, code: error.code, message: error.message });
    }
  };
  await Promise.all(channels.map(join));
  connection.restoring = NONE;
  if (!connection.isClosed) edge.registry.put(connection);
}

/** @throws StarlingError of the authorizer */
export async function refresh(edge: EdgeContext, connection: Connection, command: Command): Promise<void> {
  identityOf(connection);
  if (command.token === undefined)
    throw new StarlingError("bad_request", '"token" is missing: refresh needs one');
  await authenticate(edge, connection, command.token);
  if (connection.isClosed) return;
  edge.registry.put(connection);
  reply(connection, command.id, lifeOf(identityOf(connection)));
}

/** What is left is told too: the client's clock may be another than this node's. */
function lifeOf({ expiresAt }: Identity): Pick<ConnectReply, "expiresAt" | "expiresInMs"> {
  if (expiresAt === undefined) return {};
  return { expiresAt, expiresInMs: Math.max(0, Math.round(expiresAt * 1000 - Date.now())) };
}
