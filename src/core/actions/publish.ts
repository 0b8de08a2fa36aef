/** Clients publish to channels. */

import type { Payload } from "../../encoding/payload.js";
import type { AskedPublication } from "../authorizer.js";
import type { HistoryRule, PublishRequest } from "../broker.js";
import { checkChannelName, isServerChannel } from "../channel-name.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError, quote } from "../errors.js";
import { GRANT_BY_IDENTITY, type Grant } from "../grant.js";
import type { Position, Sender, Tags } from "../publication.js";
import { isSubscribed } from "./checks.js";
import { askToPublish, checkStandsToPublish, identityOf, mayNotPublish } from "./rights.js";

/** Its content is valid during the call. */
export interface ClientPublication extends AskedPublication {
  /** false: do not deliver to the sender. */
  readonly echo: boolean | undefined;
  /** false: it is delivered, but not kept in the channel's history, and has no position there. true by default. */
  readonly keep?: boolean | undefined;
  /** Makes a repetition by the same user, or session, once where the channel keeps history. */
  readonly messageId: string | undefined;
}

/**
 * The outcome is told by the protocol's `published`, with `ref`.
 * @param proof  as that of `subscribe`
 * @returns undefined: it is on its way; else it is once this resolves, though the connection closed meanwhile
 * @throws StarlingError unauthorized, bad_channel, forbidden, token_expired, bad_request, and what the authorizer says;
 *   unavailable, by the promise
 */
export function publish(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  publication: ClientPublication,
  ref: unknown,
  proof?: unknown,
): Promise<void> | undefined {
  identityOf(connection);
  checkChannelName(channel);
  if (isServerChannel(channel)) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(channel)} is reserved for the server: only the server API may publish to it`,
    );
  }
  if (publication.event !== undefined && edge.isReservedEvent(publication.event)) {
    throw new StarlingError(
      "forbidden",
      `event ${quote(publication.event)} is reserved for the server: name it otherwise`,
    );
  }
  // Nobody is asked about what a rule forbids anyway.
  const subscribed = grantOf(edge, connection, channel);
  const history = checkedHistory(edge, connection, channel, publication, subscribed);
  const grant = askToPublish(connection, channel, proof, publication);
  if (grant !== GRANT_BY_IDENTITY) {
    if (grant instanceof Promise)
      return publishOnceGranted(edge, connection, channel, publication, ref, grant);
    checkStandsToPublish(connection, channel, grant);
  }
  connection.app.counts.clientPublications++;
  edge.broker.publish(new ClientRequest(connection, channel, publication, history, subscribed, ref));
  return undefined;
}

async function publishOnceGranted(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  publication: ClientPublication,
  ref: unknown,
  grant: Promise<Grant>,
): Promise<void> {
  // The frame does not outlive this turn.
  const { bytes, encoding } = publication.content;
  const kept = { ...publication, content: { bytes: Buffer.from(bytes), encoding } };
  checkStandsToPublish(connection, channel, await grant);
  const subscribed = grantOf(edge, connection, channel);
  const history = checkedHistory(edge, connection, channel, kept, subscribed);
  connection.app.counts.clientPublications++;
  edge.broker.publish(new ClientRequest(connection, channel, kept, history, subscribed, ref));
}

/**
 * By the channel's rules, which allow it.
 * @param subscribed  by which the connection subscribes to the channel, as grantOf has it
 * @returns how the publication is kept
 * @throws StarlingError forbidden, bad_request
 */
function checkedHistory(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  { echo, keep }: ClientPublication,
  subscribed: Grant | undefined,
): HistoryRule | undefined {
  const { history, publish } = connection.app.rulesOf(channel);
  if (publish === "server" || (publish === "subscribers" && !isSubscribed(edge, connection, channel))) {
    const publishers = publish === "server" ? "the server API" : "subscribers";
    throw new StarlingError("forbidden", `only ${publishers} may publish to channel ${quote(channel)}`);
  }
  if (subscribed?.narrowed?.publish === false) throw mayNotPublish(channel);
  if (history !== undefined && echo === false && connection.served.framing.positions) {
    throw holeError(channel, `"echo": false`);
  }
  return keep === false ? undefined : history;
}

/** By which it subscribes to the channel, where that says more than GRANT_BY_IDENTITY. */
function grantOf({ hub }: EdgeContext, connection: Connection, channel: string): Grant | undefined {
  const { app, grants } = connection;
  if (grants === undefined) return undefined;
  if (connection.isClosed) {
    for (const [local, grant] of grants) if (local.name === channel) return grant;
    return undefined;
  }
  const local = hub.channels.get(app.keyOf(channel));
  return local === undefined ? undefined : grants.get(local);
}

/** Excluding a receiver where positions count would leave a hole in its offsets. */
export function holeError(channel: string, asked: string): StarlingError {
  return new StarlingError(
    "bad_request",
    `${asked} is not allowed in channel ${quote(channel)}, which has history: an excluded connection would miss an offset`,
  );
}

/** A message id as the broker knows it: nobody's repetition is taken for another's. */
export function scopedMessageId(scope: "user" | "session" | "api", of: string, messageId: string): string {
  return `${scope} ${of.length} ${of} ${messageId}`;
}

/** The last sender: most publish more than once in a row. */
let lastSender: Sender = { connection: "" };

function senderOf({ id }: Connection, user: string | null): Sender {
  if (lastSender.connection !== id || (lastSender.user ?? null) !== user) {
    lastSender = user === null ? { connection: id } : { connection: id, user };
  }
  return lastSender;
}

/** A client's publication on its way to the bus. */
class ClientRequest implements PublishRequest {
  readonly key: string;
  readonly payload: Payload;
  readonly from: Sender;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
  readonly history: HistoryRule | undefined;
  readonly messageId: string | undefined;
  readonly #connection: Connection;
  readonly #ref: unknown;

  constructor(
    connection: Connection,
    channel: string,
    { content, event, tags, echo, messageId }: ClientPublication,
    history: HistoryRule | undefined,
    subscribed: Grant | undefined,
    ref: unknown,
  ) {
    this.key = connection.app.keyOf(channel);
    // The content is a view into the frame, which does not outlive this turn.
    this.payload = { bytes: Buffer.from(content.bytes), encoding: content.encoding };
    const { userId } = connection;
    // In a channel it may be somebody else than elsewhere.
    this.from = senderOf(connection, subscribed?.user ?? userId);
    this.event = event;
    this.tags = tags;
    this.exclude = echo === false ? connection.id : undefined;
    this.history = history;
    this.messageId =
      messageId === undefined
        ? undefined
        : userId === null
          ? scopedMessageId("session", connection.sessionId, messageId)
          : scopedMessageId("user", userId, messageId);
    this.#connection = connection;
    this.#ref = ref;
  }

  settle(failure: StarlingError | undefined, position: Position | undefined): void {
    this.#connection.published(this.#ref, failure, position);
  }
}
