/** What each action of a client does. A promise returned holds back the client's later frames. */

import levenshtein from "fastest-levenshtein";
import { checkChannelName, isServerChannel } from "../protocol/channel-name.js";
import { StarlingError, quote } from "../protocol/errors.js";
import {
  ACTIONS,
  type Command,
  type CommandId,
  type ConnectReply,
  type Payload,
  type Position,
  type Sender,
  type Tags,
} from "../protocol/messages.js";
import type { Identity } from "./authorizer.js";
import type { PublishRequest } from "./broker.js";
import { channelKey } from "./channel.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";

/** @throws StarlingError, at once or by the promise */
export function execute(
  edge: EdgeContext,
  connection: Connection,
  command: Command,
): Promise<void> | undefined {
  switch (command.action) {
    case "send":
      return send(edge, connection, command);
    case "subscribe":
      return subscribe(edge, connection, command);
    case "unsubscribe":
      return unsubscribe(edge, connection, command);
    case "connect":
      return connect(edge, connection, command);
    case "refresh":
      return refresh(edge, connection, command);
    case "ping":
      return ping(connection, command);
    default: {
      const nearest = levenshtein.closest(command.action, ACTIONS);
      const hint =
        levenshtein.distance(command.action, nearest) <= 3
          ? `did you mean "${nearest}"?`
          : `one of ${ACTIONS.join(", ")}`;
      throw new StarlingError("unknown_action", `no action ${quote(command.action)}: ${hint}`);
    }
  }
}

function reply(connection: Connection, id: CommandId | undefined, fields: object): void {
  if (id !== undefined) connection.send({ type: "reply", id, ...fields });
}

function identityOf(connection: Connection): Identity {
  if (connection.identity !== undefined) return connection.identity;
  throw new StarlingError("unauthorized", 'send {"action":"connect","token":...} first');
}

/** @throws StarlingError bad_request, bad_channel */
function channelOf(command: Command): string {
  if (command.channel === undefined) {
    throw new StarlingError("bad_request", `"channel" is missing: ${command.action} needs one`);
  }
  checkChannelName(command.channel);
  return command.channel;
}

function ping(connection: Connection, command: Command): undefined {
  if (command.id === undefined) connection.send({ type: "pong" });
  else reply(connection, command.id, {});
}

/** A client's publication on its way to the bus. */
class ClientPublish implements PublishRequest {
  readonly key: string;
  readonly payload: Payload;
  readonly from: Sender;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
  readonly #connection: Connection;
  readonly #id: CommandId | undefined;

  constructor(connection: Connection, channel: string, content: Payload, command: Command) {
    this.key = channelKey(connection.app, channel);
    // The content is a view into the frame, which does not outlive this turn.
    this.payload = { bytes: Buffer.from(content.bytes), encoding: content.encoding };
    const { userId } = connection;
    this.from = userId === null ? { connection: connection.id } : { connection: connection.id, user: userId };
    this.event = command.event;
    this.tags = command.tags;
    this.exclude = command.echo === false ? connection.id : undefined;
    this.#connection = connection;
    this.#id = command.id;
  }

  settle(failure: StarlingError | undefined, position: Position | undefined): void {
    if (failure !== undefined) this.#connection.fail(failure, this.#id);
    else if (this.#id !== undefined) reply(this.#connection, this.#id, position ?? {});
  }
}

function send(edge: EdgeContext, connection: Connection, command: Command): undefined {
  const identity = identityOf(connection);
  const channel = channelOf(command);
  if (command.content === undefined) {
    throw new StarlingError("bad_request", '"content" is missing: any JSON value will do');
  }
  if (isServerChannel(channel)) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(channel)} is the server's: only its API may send there`,
    );
  }
  if (!identity.mayPublish(channel)) {
    throw new StarlingError(
      "forbidden",
      `the token's "publish" claim does not cover channel ${quote(channel)}`,
    );
  }
  edge.broker.publish(new ClientPublish(connection, channel, command.content, command));
}

/** @throws StarlingError forbidden */
function checkMaySubscribe(identity: Identity, channel: string): void {
  if (isServerChannel(channel)) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(channel)} is the server's: nobody subscribes to it`,
    );
  }
  if (!identity.maySubscribe(channel)) {
    throw new StarlingError(
      "forbidden",
      `the token's "channels" claim does not cover channel ${quote(channel)}`,
    );
  }
}

/** @throws StarlingError channel_limit */
function checkRoom(edge: EdgeContext, connection: Connection): void {
  const limit = edge.options.maxChannelsPerConnection;
  if (connection.channels.size >= limit) {
    throw new StarlingError("channel_limit", `this connection holds ${limit} channels, as many as it may`);
  }
}

export function isSubscribed(edge: EdgeContext, connection: Connection, channel: string): boolean {
  const local = edge.hub.channels.get(channelKey(connection.app, channel));
  return local !== undefined && connection.channels.has(local);
}

function subscribe(edge: EdgeContext, connection: Connection, command: Command): Promise<void> | undefined {
  const channel = channelOf(command);
  checkMaySubscribe(identityOf(connection), channel);
  if (isSubscribed(edge, connection, channel)) {
    reply(connection, command.id, { channel });
    return undefined;
  }
  checkRoom(edge, connection);
  const joining = edge.hub.join(connection, channel);
  if (joining === undefined) {
    edge.registry.put(connection);
    reply(connection, command.id, { channel });
    return undefined;
  }
  return joining.then(() => {
    if (connection.isClosed) return;
    leaveIfForbidden(edge, connection, channel);
    edge.registry.put(connection);
    reply(connection, command.id, { channel });
  });
}

/** Rights may have been taken away while the bus was awaited. @throws StarlingError forbidden */
function leaveIfForbidden(edge: EdgeContext, connection: Connection, channel: string): void {
  try {
    checkMaySubscribe(identityOf(connection), channel);
  } catch (error) {
    edge.hub.leave(connection, channel);
    throw error;
  }
}

function unsubscribe(edge: EdgeContext, connection: Connection, command: Command): undefined {
  identityOf(connection);
  const channel = channelOf(command);
  if (!edge.hub.leave(connection, channel)) {
    throw new StarlingError("not_subscribed", `this connection is not subscribed to ${quote(channel)}`);
  }
  edge.registry.put(connection);
  reply(connection, command.id, { channel });
}

/**
 * Takes on what a token proves; the caller has it registered, unless it closed meanwhile.
 * @throws StarlingError of the authorizer
 */
export async function authenticate(edge: EdgeContext, connection: Connection, token: string): Promise<void> {
  const identity = await edge.authorizer.authenticate({ app: connection.app, token });
  if (connection.isClosed) return;
  const known = connection.identity;
  if (known !== undefined && known.userId !== null && known.userId !== identity.userId) {
    throw new StarlingError("token_invalid", "the token is another user's: open a new connection for it");
  }
  adopt(edge, connection, identity);
}

/** Gives a connection an identity and takes away the subscriptions that it does not cover. */
export function adopt(edge: EdgeContext, connection: Connection, identity: Identity): void {
  const known = connection.identity;
  if (known?.expiresAt !== undefined) edge.expiry.cancel(known.expiresAt, connection);
  connection.identity = identity;
  edge.hub.identify(connection, identity.userId);
  if (identity.expiresAt !== undefined) edge.expiry.at(identity.expiresAt, connection);
  for (const { name } of [...connection.channels]) {
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

async function connect(edge: EdgeContext, connection: Connection, command: Command): Promise<void> {
  if (command.token !== undefined) await authenticate(edge, connection, command.token);
  if (connection.isClosed) return;
  const identity = identityOf(connection);
  const resumption =
    command.resume === undefined ? undefined : await resume(edge, connection, identity, command.resume);
  if (connection.isClosed) return;
  edge.registry.put(connection);
  const { userId, expiresAt } = identity;
  const answer: ConnectReply = {
    session: connection.sessionId,
    resume: connection.resumeToken,
    resumed: resumption?.resumed ?? false,
    ...(resumption?.reason === undefined ? {} : { reason: resumption.reason }),
    ...(userId === null ? {} : { user: userId }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    channels: Array.from(connection.channels, (channel) => channel.name),
    ...(resumption === undefined || resumption.refused.length === 0 ? {} : { refused: resumption.refused }),
  };
  reply(connection, command.id, answer);
}

interface Resumption {
  readonly resumed: boolean;
  readonly reason?: string;
  readonly refused: readonly string[];
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
  if (connection.isClosed) return { resumed: false, refused: [] };
  if (result.taken === undefined) return { resumed: false, reason: result.reason, refused: [] };
  const { taken } = result;
  if (taken.app !== connection.app || (taken.userId !== null && taken.userId !== identity.userId)) {
    return { resumed: false, reason: "another_user", refused: [] };
  }
  connection.sessionId = taken.session;
  const refused: string[] = [];
  const joins: Promise<void>[] = [];
  for (const channel of taken.channels) {
    if (
      !identity.maySubscribe(channel) ||
      connection.channels.size >= edge.options.maxChannelsPerConnection
    ) {
      refused.push(channel);
    } else if (!isSubscribed(edge, connection, channel)) {
      const joining = edge.hub.join(connection, channel);
      if (joining !== undefined) joins.push(joining);
    }
  }
  // What could not be joined is missing from the reply's channels: the client asks again.
  for (const { status, reason } of (await Promise.allSettled(joins)) as {
    status: string;
    reason?: unknown;
  }[]) {
    if (status === "rejected")
      edge.log.warn({ err: reason, session: taken.session }, "a channel was not restored");
  }
  edge.stats.resumed++;
  return { resumed: true, refused };
}

async function refresh(edge: EdgeContext, connection: Connection, command: Command): Promise<void> {
  identityOf(connection);
  if (command.token === undefined)
    throw new StarlingError("bad_request", '"token" is missing: refresh needs one');
  await authenticate(edge, connection, command.token);
  if (connection.isClosed) return;
  edge.registry.put(connection);
  const expiresAt = connection.identity?.expiresAt;
  reply(connection, command.id, expiresAt === undefined ? {} : { expiresAt });
}
