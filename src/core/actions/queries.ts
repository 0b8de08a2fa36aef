/** What clients may ask of a channel without subscribing: its history, and who is there. */

import { costOf, membersWithin, pageBytes } from "../answers.js";
import type { HistoryPage } from "../broker.js";
import { checkChannelName } from "../channel-name.js";
import type { ChannelRules } from "../channel-rules.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError } from "../errors.js";
import { READ_LIMIT_DEFAULT, READ_LIMIT_MAX } from "../limits.js";
import type { PresenceCounts, PresencePage } from "../presence.js";
import type { Position } from "../publication.js";
import { notEnabled } from "./checks.js";
import { askToRead } from "./rights.js";

function checkedLimit(limit = READ_LIMIT_DEFAULT): number {
  if (limit <= READ_LIMIT_MAX) return limit;
  throw new StarlingError("bad_request", `"limit" is ${limit}, at most ${READ_LIMIT_MAX} is allowed`);
}

/** The rules of a channel that the connection may read. */
function askedRules(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
): ChannelRules | Promise<ChannelRules> {
  checkChannelName(channel);
  const asked = askToRead(edge, connection, channel);
  if (asked === undefined) return connection.app.rulesOf(channel);
  return asked.then(() => connection.app.rulesOf(channel));
}

export interface HistoryRange {
  readonly since: Position | undefined;
  /** At most READ_LIMIT_MAX; READ_LIMIT_DEFAULT where undefined. */
  readonly limit: number | undefined;
  readonly reverse: boolean;
}

/** `maxBytes`: publications that would make an answer longer than this are to be left out, but not the first. */
export type HistoryOutcome = HistoryPage & { readonly maxBytes: number };

/** @throws StarlingError unauthorized, bad_channel, forbidden, not_enabled, bad_request, unavailable, outcome_unknown */
export async function readHistory(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  { since, limit, reverse }: HistoryRange,
): Promise<HistoryOutcome> {
  const asked = askedRules(edge, connection, channel);
  const rule = (asked instanceof Promise ? await asked : asked).history;
  if (rule === undefined) throw notEnabled(channel, "history");
  const maxBytes = pageBytes(edge.options);
  const page = await edge.broker.history(connection.app.keyOf(channel), {
    rule,
    since,
    limit: checkedLimit(limit),
    reverse,
    maxBytes,
    peek: true,
  });
  const cost = costOf(page.publications);
  connection.charge(cost);
  await edge.answerTurns.take(cost.bytes);
  return { ...page, maxBytes };
}

/** @throws StarlingError as readHistory */
export async function readPresenceCounts(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
): Promise<PresenceCounts> {
  const asked = askedRules(edge, connection, channel);
  if (!(asked instanceof Promise ? await asked : asked).presence) throw notEnabled(channel, "presence");
  connection.charge({ items: 1, bytes: 0 });
  return edge.presence.counts(connection.app.keyOf(channel));
}

/**
 * @param tell  called at the answer's place among the channel's joins and leaves
 * @throws StarlingError as readHistory
 */
export async function readPresence(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  limit: number | undefined,
  tell: (outcome: PresencePage) => void,
): Promise<void> {
  const asked = askedRules(edge, connection, channel);
  if (!(asked instanceof Promise ? await asked : asked).presence) throw notEnabled(channel, "presence");
  const key = connection.app.keyOf(channel);
  await edge.presence.members(key, checkedLimit(limit), (page) => {
    const { members, infoBytes } = membersWithin(page.members, pageBytes(edge.options));
    connection.charge({ items: page.members.length, bytes: infoBytes });
    tell({ members, connections: page.connections, users: page.users });
  });
}
