/** What clients may ask of a channel without subscribing: its history, and who is there. */

import { StarlingError } from "../protocol/errors.js";
import type { Command } from "../protocol/messages.js";
import { costOf, pageBytes, sendersWithin } from "./answers.js";
import { channelKey } from "./channel.js";
import type { ChannelRules } from "./channel-rules.js";
import { channelOf, checkMaySubscribe, identityOf, notEnabled, reply } from "./command-checks.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;

function limitOf(command: Command): number {
  const limit = command.limit ?? LIMIT_DEFAULT;
  if (limit <= LIMIT_MAX) return limit;
  throw new StarlingError("bad_request", `"limit" is ${limit}, at most ${LIMIT_MAX} is allowed`);
}

function askedChannel(
  edge: EdgeContext,
  connection: Connection,
  command: Command,
): { channel: string; rules: ChannelRules } {
  const channel = channelOf(command);
  checkMaySubscribe(identityOf(connection), channel);
  return { channel, rules: edge.rulesOf(channel) };
}

/** @throws StarlingError forbidden, not_enabled, bad_request, unavailable, unknown */
export async function readHistory(
  edge: EdgeContext,
  connection: Connection,
  command: Command,
): Promise<void> {
  const { channel, rules } = askedChannel(edge, connection, command);
  if (rules.history === undefined) throw notEnabled(channel, "history");
  const maxBytes = pageBytes(edge.options);
  const { publications, top, more } = await edge.broker.history(channelKey(connection.app, channel), {
    rule: rules.history,
    since: command.since,
    limit: limitOf(command),
    reverse: command.reverse ?? false,
    maxBytes,
    peek: true,
  });
  const cost = costOf(publications);
  connection.charge(cost);
  await edge.answerTurns.take(cost.bytes);
  if (command.id === undefined) return;
  const answer = { channel, publications, top, more: more ?? false, maxBytes };
  connection.sendEncoded(connection.codec.encodeHistory(command.id, answer));
}

/** @throws StarlingError forbidden, not_enabled, bad_request, unavailable, unknown */
export async function readPresence(
  edge: EdgeContext,
  connection: Connection,
  command: Command,
): Promise<void> {
  const { channel, rules } = askedChannel(edge, connection, command);
  if (!rules.presence) throw notEnabled(channel, "presence");
  const key = channelKey(connection.app, channel);
  if (command.action === "presence_stats") {
    connection.charge({ items: 1, bytes: 0 });
    reply(connection, command.id, { channel, ...(await edge.presence.counts(key)) });
    return;
  }
  await edge.presence.members(key, limitOf(command), ({ members, connections, users }) => {
    connection.charge({ items: members.length, bytes: 0 });
    const told = sendersWithin(members, pageBytes(edge.options));
    reply(connection, command.id, { channel, members: told, connections, users });
  });
}
