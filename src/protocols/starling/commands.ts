/** The actions of the native protocol: a command's fields go to core, and what comes of it into the reply. */

import { publish } from "../../core/actions/publish.js";
import { readHistory, readPresence, readPresenceCounts } from "../../core/actions/queries.js";
import { subscribe } from "../../core/actions/subscribe.js";
import { answerFirst, unsubscribe } from "../../core/actions/unsubscribe.js";
import type { Payload } from "../../encoding/payload.js";
import { checkChannelName } from "../../core/channel-name.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import { StarlingError, quote } from "../../core/errors.js";
import { suggest } from "../../core/suggest.js";
import { connect, refresh } from "./connect.js";
import { codecOf } from "./framing.js";
import { ACTIONS, type Command } from "./messages.js";
import { memberOf, recoveryFields } from "./notices.js";
import { channelOf, identityOf, reply, send } from "./replies.js";

/**
 * A promise returned holds back the client's later frames.
 * @throws StarlingError, at once or by the promise
 */
export function execute(connection: ProtocolConnection, command: Command): Promise<void> | undefined {
  switch (command.action) {
    case "send":
      return sendMessage(connection, command);
    case "subscribe":
      return join(connection, command);
    case "unsubscribe":
      return leave(connection, command);
    case "history":
      return history(connection, command);
    case "presence":
      return presence(connection, command);
    case "presence_stats":
      return presenceStats(connection, command);
    case "connect":
      return connect(connection, command);
    case "refresh":
      return refresh(connection, command);
    case "ping":
      return ping(connection, command);
    default: {
      const near = suggest(command.action, ACTIONS);
      const hint = near === undefined ? `allowed are ${ACTIONS.join(", ")}` : `did you mean "${near}"?`;
      throw new StarlingError("unknown_action", `unknown action ${quote(command.action)}: ${hint}`);
    }
  }
}

export function ping(connection: ProtocolConnection, command: Command): undefined {
  if (command.id === undefined) send(connection, { type: "pong" });
  else reply(connection, command.id, {});
}

function sendMessage(connection: ProtocolConnection, command: Command): Promise<void> | undefined {
  identityOf(connection);
  const channel = channelOf(command);
  if (command.content === undefined) {
    checkChannelName(channel);
    throw new StarlingError("bad_request", '"content" is missing: any JSON value is allowed');
  }
  // The command is what the action takes: no object more for each message.
  const publication = command as Command & { content: Payload };
  return publish(connection.edge, connection, channel, publication, command.id);
}

/** As the queries: that a name is no channel's is told first. */
function namedChannel(connection: ProtocolConnection, command: Command): string {
  const channel = channelOf(command);
  if (connection.identity === undefined) {
    checkChannelName(channel);
    identityOf(connection);
  }
  return channel;
}

function join(connection: ProtocolConnection, command: Command): Promise<void> | undefined {
  const channel = namedChannel(connection, command);
  return subscribe(connection.edge, connection, channel, {
    since: command.since,
    joined: (outcome) => {
      const standing = outcome === undefined ? {} : recoveryFields(outcome);
      reply(connection, command.id, { channel, ...standing });
    },
  });
}

function leave(connection: ProtocolConnection, command: Command): undefined {
  identityOf(connection);
  const channel = channelOf(command);
  unsubscribe(connection.edge, connection, channel);
  const { id } = command;
  if (id === undefined) return;
  const recorded = connection.edge.registry.recorded();
  if (recorded === undefined) {
    reply(connection, id, { channel });
    return;
  }
  const answered = recorded.then(
    () => reply(connection, id, { channel }),
    (error: unknown) => connection.fail(error, id),
  );
  answerFirst(connection, channel, answered);
}

async function history(connection: ProtocolConnection, command: Command): Promise<void> {
  const channel = namedChannel(connection, command);
  const { since, limit, reverse = false } = command;
  const page = await readHistory(connection.edge, connection, channel, { since, limit, reverse });
  if (command.id === undefined) return;
  const { publications, top, more = false, maxBytes } = page;
  const answer = { channel, publications, top, more, maxBytes };
  if (!connection.isClosed) connection.send(codecOf(connection).encodeHistory(command.id, answer));
}

function presence(connection: ProtocolConnection, command: Command): Promise<void> {
  const channel = namedChannel(connection, command);
  return readPresence(connection.edge, connection, channel, command.limit, (page) => {
    const { members, connections, users } = page;
    reply(connection, command.id, { channel, members: members.map(memberOf), connections, users });
  });
}

async function presenceStats(connection: ProtocolConnection, command: Command): Promise<void> {
  const channel = namedChannel(connection, command);
  const { connections, users } = await readPresenceCounts(connection.edge, connection, channel);
  reply(connection, command.id, { channel, connections, users });
}
