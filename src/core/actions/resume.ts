/** A connection goes on with the session of an earlier one: its channels, and what it missed there. */

import type { JoinOutcome } from "../channel-feed.js";
import { ChannelRoom } from "../channel-room.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError } from "../errors.js";
import type { Position } from "../publication.js";
import type { TakeRefusal } from "../registry.js";
import { checkMaySubscribe, identityOf, isSubscribed } from "./checks.js";
import { countRecovery } from "./subscribe.js";

export interface Resumption {
  readonly resumed: boolean;
  /** Why nothing was. */
  readonly reason?: TakeRefusal;
  /** Channels that the session had, and that this connection may not have. */
  readonly refused: readonly string[];
  /** Channels that are joined again with positions to tell: to be given to `recover`. */
  readonly recovering: readonly string[];
}

export const NOT_RESUMED: Resumption = { resumed: false, refused: [], recovering: [] };

/**
 * Takes the session and joins those of its channels that have no positions to tell.
 * @param token  as `resumeToken` of the session's last connection
 * @throws StarlingError unauthorized, bad_request, unavailable, outcome_unknown
 */
export async function resume(edge: EdgeContext, connection: Connection, token: string): Promise<Resumption> {
  const identity = identityOf(connection);
  const dot = token.lastIndexOf(".");
  const session = token.slice(0, dot);
  if (dot <= 0 || session === connection.sessionId) {
    throw new StarlingError("bad_request", '"resume" must be the resume token of another session');
  }
  const result = await edge.registry.take(session, token.slice(dot + 1), connection);
  if (connection.isClosed) return NOT_RESUMED;
  if (result.taken === undefined) return { ...NOT_RESUMED, reason: result.reason };
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
  connection.restoring = restored;
  const recovering = restored.filter((channel) => connection.app.rulesOf(channel).recovery);
  await restore(
    edge,
    connection,
    restored.filter((channel) => !recovering.includes(channel)),
  );
  connection.restoring = recovering;
  return { resumed: true, refused, recovering };
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
  // What could not be joined is missing from the connection's channels: the client asks again.
  for (const result of await Promise.allSettled(joins)) {
    if (result.status === "rejected") {
      edge.log.warn({ err: result.reason as unknown }, "a channel was not restored");
    }
  }
}

export interface RecoveryHandlers {
  /** Called before what was missed is sent. */
  joined(channel: string, outcome: JoinOutcome): void;
  failed(channel: string, error: StarlingError): void;
}

/** Joins channels of a resumed session again, each from the client's position there. */
export async function recover(
  edge: EdgeContext,
  connection: Connection,
  channels: readonly string[],
  positions: ReadonlyMap<string, Position> | undefined,
  handlers: RecoveryHandlers,
): Promise<void> {
  const join = async (channel: string): Promise<void> => {
    try {
      await edge.hub.join(connection, channel, {
        since: positions?.get(channel),
        answer: (outcome) => {
          checkMaySubscribe(connection, channel);
          // A client that gives no position where there was a session missed what it cannot name.
          const told =
            outcome?.recovered === undefined && outcome !== undefined
              ? { ...outcome, recovered: false }
              : outcome;
          countRecovery(edge, told);
          if (told !== undefined) handlers.joined(channel, told);
        },
      });
    } catch (error) {
      if (!(error instanceof StarlingError)) throw error;
      handlers.failed(channel, error);
    }
  };
  await Promise.all(channels.map(join));
  connection.restoring = [];
  if (!connection.isClosed) edge.registry.put(connection);
}
