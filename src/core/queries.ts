/** What clients may ask of a channel without subscribing: its history, and who is there. */

import { StarlingError } from "../protocol/errors.js";
import { Encoding, type Command } from "../protocol/messages.js";
import { msgpackToJson } from "../protocol/transcode.js";
import type { BusPublication } from "./broker.js";
import { channelKey } from "./channel.js";
import type { ChannelRules } from "./channel-rules.js";
import { channelOf, checkMaySubscribe, identityOf, notEnabled, reply } from "./command-checks.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import { senderOf } from "./hub.js";

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
  const page = await edge.broker.history(channelKey(connection.app, channel), {
    rule: rules.history,
    since: command.since,
    limit: limitOf(command),
    reverse: command.reverse ?? false,
  });
  reply(connection, command.id, {
    channel,
    publications: page.publications.map(entryOf),
    ...page.top,
  });
}

function entryOf({ payload, position, from, event, tags }: BusPublication): object {
  return { ...contentOf(payload), ...position, from, event, tags };
}

/** Content as a value: replies are not on the hot path. */
function contentOf({ bytes, encoding }: BusPublication["payload"]): object {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (encoding === Encoding.binary) return { contentBase64: buffer.toString("base64") };
  const text = encoding === Encoding.json ? buffer.toString("utf8") : msgpackToJson(bytes);
  return { content: JSON.parse(text) as unknown };
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
    reply(connection, command.id, { channel, ...(await edge.presence.counts(key)) });
    return;
  }
  await edge.presence.members(key, limitOf(command), ({ members, connections, users }) => {
    reply(connection, command.id, { channel, members: members.map(senderOf), connections, users });
  });
}
