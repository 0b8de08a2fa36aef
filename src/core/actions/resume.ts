/** A connection goes on with the session of an earlier one: its channels, and what it missed there. */

import type { JoinOutcome } from "../channel-feed.js";
import { ChannelRoom } from "../channel-room.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError } from "../errors.js";
import type { Grant } from "../grant.js";
import type { Position } from "../publication.js";
import type { TakeRefusal } from "../registry.js";
import { isSubscribed } from "./checks.js";
import { ANSWER_TIMEOUT_MS, askToSubscribe, checkStands, identityOf } from "./rights.js";
import { countRecovery } from "./subscribe.js";
import { endedByApplication, revokedDuring } from "./unsubscribe.js";

export interface Resumption {
  readonly resumed: boolean;
  /** Why nothing was. */
  readonly reason?: TakeRefusal;
  /** Channels that the session had, and that this connection may not have. */
  readonly refused: readonly string[];
  /** Channels that are joined again with positions to tell: to be given to `recover`. */
  readonly recovering: readonly string[];
  /** To the channels that are joined again. */
  readonly grants: ReadonlyMap<string, Grant>;
}

export const NOT_RESUMED: Resumption = { resumed: false, refused: [], recovering: [], grants: new Map() };

/** Channels of one session the rights to which are asked for at a time. */
const ASKED_AT_ONCE = 16;

/**
 * Takes the session and joins those of its channels that have no positions to tell.
 * @param token  as `resumeToken` of the session's last connection
 * @throws StarlingError unauthorized, bad_request, unavailable, outcome_unknown
 */
export async function resume(edge: EdgeContext, connection: Connection, token: string): Promise<Resumption> {
  identityOf(connection);
  const dot = token.lastIndexOf(".");
  const session = token.slice(0, dot);
  if (dot <= 0 || session === connection.sessionId) {
    throw new StarlingError("bad_request", '"resume" must be the resume token of another session');
  }
  const taking = edge.registry.take(session, token.slice(dot + 1), connection);
  const revoked = revokedDuring(connection, taking);
  const result = await taking;
  if (connection.isClosed) return NOT_RESUMED;
  if (result.taken === undefined) return { ...NOT_RESUMED, reason: result.reason };
  const { taken } = result;
  connection.sessionId = taken.session;
  const missing = taken.channels.filter(
    (channel) => !isSubscribed(edge, connection, channel) && !revoked.has(channel),
  );
  connection.restoring = missing;
  const { grants, unknown } = await askForAll(edge, connection, missing);
  if (connection.isClosed) return NOT_RESUMED;
  const refused: string[] = [];
  const restored: string[] = [];
  const room = new ChannelRoom(edge.options, connection.channels);
  // Those that were taken away meanwhile are no longer among them.
  for (const channel of connection.restoring) {
    if (grants.has(channel) && room.take(channel) === undefined) restored.push(channel);
    else if (!unknown.has(channel)) refused.push(channel);
  }
  edge.stats.resumed++;
  connection.restoring = restored;
  const recovers = (channel: string): boolean => connection.app.rulesOf(channel).recovery;
  const joined = restored.filter((channel) => !recovers(channel));
  await restore(edge, connection, joined, grants);
  const recovering = connection.restoring.filter(recovers);
  connection.restoring = recovering;
  return { resumed: true, refused, recovering, grants };
}

interface Answers {
  readonly grants: ReadonlyMap<string, Grant>;
  /** Channels of which it could not be found out now. */
  readonly unknown: ReadonlySet<string>;
}

/**
 * Asks for the rights to channels of a session, for which nobody brings a proof any more. Those that are not asked for
 * within the time of one answer are not asked for at all: the client waits.
 */
async function askForAll(
  edge: EdgeContext,
  connection: Connection,
  channels: readonly string[],
): Promise<Answers> {
  const grants = new Map<string, Grant>();
  const unknown = new Set<string>();
  let reason: StarlingError | undefined;
  const left = channels.values();
  const untilMs = performance.now() + ANSWER_TIMEOUT_MS;
  const ask = async (): Promise<void> => {
    for (const channel of left) {
      if (connection.isClosed) return;
      if (performance.now() >= untilMs) {
        unknown.add(channel);
        continue;
      }
      try {
        const answer = askToSubscribe(connection, channel, undefined);
        const grant = answer instanceof Promise ? await answer : answer;
        checkStands(connection, channel, grant);
        grants.set(channel, grant);
      } catch (error) {
        if (!(error instanceof StarlingError)) throw error;
        if (!error.temporary) continue;
        reason = error;
        unknown.add(channel);
        edge.stats.reject(error.code);
      }
    }
  };
  // One of them goes through all where the answers come at once.
  await Promise.all(Array.from({ length: Math.min(ASKED_AT_ONCE, channels.length) }, ask));
  if (unknown.size > 0) {
    edge.log.warn(
      { err: reason, channels: unknown.size },
      "channels of a session were not restored: the rights to them could not be asked for",
    );
  }
  return { grants, unknown };
}

/** Joins the channels of a resumed session that have no positions to tell. */
async function restore(
  edge: EdgeContext,
  connection: Connection,
  channels: readonly string[],
  grants: ReadonlyMap<string, Grant>,
): Promise<void> {
  const joins = channels.map(async (channel) => {
    const grant = grants.get(channel)!;
    await edge.hub.join(connection, channel, {
      grant,
      answer: () => checkRestoring(connection, channel, grant),
    });
  });
  // What could not be joined is missing from the connection's channels: the client asks again.
  for (const result of await Promise.allSettled(joins)) {
    if (result.status === "rejected") {
      edge.log.warn({ err: result.reason as unknown }, "a channel was not restored");
    }
  }
}

/** @throws StarlingError of checkStands; forbidden where the channel was taken away while it was joined again */
function checkRestoring(connection: Connection, channel: string, grant: Grant): void {
  checkStands(connection, channel, grant);
  if (connection.restoring.includes(channel)) return;
  throw endedByApplication(channel);
}

export interface RecoveryHandlers {
  /** Called before what was missed is sent. */
  joined(channel: string, outcome: JoinOutcome): void;
  failed(channel: string, error: StarlingError): void;
}

/** Joins the `recovering` channels of a resumed session again, each from the client's position there. */
export async function recover(
  edge: EdgeContext,
  connection: Connection,
  { recovering, grants }: Resumption,
  positions: ReadonlyMap<string, Position> | undefined,
  handlers: RecoveryHandlers,
): Promise<void> {
  const join = async (channel: string): Promise<void> => {
    const grant = grants.get(channel)!;
    try {
      await edge.hub.join(connection, channel, {
        since: positions?.get(channel),
        grant,
        answer: (outcome) => {
          checkRestoring(connection, channel, grant);
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
      // What was taken away meanwhile was told.
      if (connection.restoring.includes(channel)) handlers.failed(channel, error);
    }
  };
  await Promise.all(recovering.map(join));
  connection.restoring = [];
  if (!connection.isClosed) edge.registry.put(connection);
}
