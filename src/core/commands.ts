/** What each action of a client does. A promise returned holds back the client's later frames. */

import { isServerChannel } from "../protocol/channel-name.js";
import { StarlingError, quote } from "../protocol/errors.js";
import {
  ACTIONS,
  type Command,
  type CommandId,
  type Payload,
  type Position,
  type Sender,
  type Tags,
} from "../protocol/messages.js";
import { suggest } from "../protocol/suggest.js";
import type { HistoryRule, PublishRequest } from "./broker.js";
import { channelKey } from "./channel.js";
import { ChannelRoom } from "./channel-room.js";
import {
  channelOf,
  checkMaySubscribe,
  countRecovery,
  holeError,
  identityOf,
  isSubscribed,
  reply,
  scopedMessageId,
} from "./command-checks.js";
import { connect, refresh } from "./connect.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import { readHistory, readPresence } from "./queries.js";
import { standingOf } from "./standing.js";

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
    case "history":
      return readHistory(edge, connection, command);
    case "presence":
    case "presence_stats":
      return readPresence(edge, connection, command);
    case "connect":
      return connect(edge, connection, command);
    case "refresh":
      return refresh(edge, connection, command);
    case "ping":
      return ping(connection, command);
    default: {
      const near = suggest(command.action, ACTIONS);
      const hint = near === undefined ? `one of ${ACTIONS.join(", ")}` : `did you mean "${near}"?`;
      throw new StarlingError("unknown_action", `no action ${quote(command.action)}: ${hint}`);
    }
  }
}

function ping(connection: Connection, command: Command): undefined {
  if (command.id === undefined) connection.send({ type: "pong" });
  else reply(connection, command.id, {});
}

/** The last sender: most publish more than once in a row. */
let lastSender: Sender = { connection: "" };

function senderOf({ id, userId }: Connection): Sender {
  if (lastSender.connection !== id || (lastSender.user ?? null) !== userId) {
    lastSender = userId === null ? { connection: id } : { connection: id, user: userId };
  }
  return lastSender;
}

/** A client's publication on its way to the bus. */
class ClientPublish implements PublishRequest {
  readonly key: string;
  readonly payload: Payload;
  readonly from: Sender;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
  readonly history: HistoryRule | undefined;
  readonly messageId: string | undefined;
  readonly #connection: Connection;
  readonly #id: CommandId | undefined;

  constructor(
    connection: Connection,
    channel: string,
    content: Payload,
    command: Command,
    history: HistoryRule | undefined,
  ) {
    this.key = channelKey(connection.app, channel);
    // The content is a view into the frame, which does not outlive this turn.
    this.payload = { bytes: Buffer.from(content.bytes), encoding: content.encoding };
    const { userId } = connection;
    this.from = senderOf(connection);
    this.event = command.event;
    this.tags = command.tags;
    this.exclude = command.echo === false ? connection.id : undefined;
    this.history = history;
    this.messageId =
      command.messageId === undefined
        ? undefined
        : userId === null
          ? scopedMessageId("session", connection.sessionId, command.messageId)
          : scopedMessageId("user", userId, command.messageId);
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
  const { history, publish } = edge.rulesOf(channel);
  if (publish === "server" || (publish === "subscribers" && !isSubscribed(edge, connection, channel))) {
    throw new StarlingError("forbidden", `only ${publishers(publish)} may send to channel ${quote(channel)}`);
  }
  if (history !== undefined && command.echo === false) throw holeError(channel);
  edge.broker.publish(new ClientPublish(connection, channel, command.content, command, history));
}

function publishers(rule: "server" | "subscribers"): string {
  return rule === "server" ? "the server's API" : "its subscribers";
}

/** @throws StarlingError channel_limit */
function checkRoom(edge: EdgeContext, connection: Connection, channel: string): void {
  const problem = new ChannelRoom(edge.options, connection.channels).take(channel);
  if (problem !== undefined) throw new StarlingError("channel_limit", problem);
}

/**
 * Channels whose unsubscribe is yet to be answered: who subscribes again is answered after it. Not in the connection:
 * few have any.
 */
const leaving = new WeakMap<Connection, Map<string, Promise<void>>>();

function subscribe(edge: EdgeContext, connection: Connection, command: Command): Promise<void> | undefined {
  const channel = channelOf(command);
  const answered = leaving.get(connection)?.get(channel);
  if (answered !== undefined) return answered.then(() => subscribe(edge, connection, command));
  checkMaySubscribe(identityOf(connection), channel);
  if (!isSubscribed(edge, connection, channel)) checkRoom(edge, connection, channel);
  const joining = edge.hub.join(connection, channel, {
    since: command.since,
    answer: (outcome) => {
      // Rights may have been taken away while the bus was awaited.
      checkMaySubscribe(identityOf(connection), channel);
      countRecovery(edge, outcome);
      edge.registry.put(connection);
      reply(
        connection,
        command.id,
        outcome === undefined ? { channel } : { channel, ...standingOf(outcome) },
      );
    },
  });
  return joining;
}

function unsubscribe(edge: EdgeContext, connection: Connection, command: Command): undefined {
  identityOf(connection);
  const channel = channelOf(command);
  if (!edge.hub.leave(connection, channel)) {
    throw new StarlingError("not_subscribed", `this connection is not subscribed to ${quote(channel)}`);
  }
  edge.registry.put(connection);
  const { id } = command;
  if (id === undefined) return undefined;
  // A node killed before this is recorded would leave the channel to whoever resumes the session.
  const recorded = edge.registry.recorded();
  if (recorded === undefined) {
    reply(connection, id, { channel });
    return undefined;
  }
  const answered = recorded.then(
    () => reply(connection, id, { channel }),
    (error: unknown) => connection.fail(error, id),
  );
  const channels = leaving.get(connection) ?? new Map<string, Promise<void>>();
  leaving.set(connection, channels.set(channel, answered));
  void answered.then(() => {
    channels.delete(channel);
    if (channels.size === 0) leaving.delete(connection);
  });
  return undefined;
}
