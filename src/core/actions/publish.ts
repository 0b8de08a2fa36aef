/** Clients publish to channels. */

import type { Payload } from "../../encoding/payload.js";
import type { HistoryRule, PublishRequest } from "../broker.js";
import { checkChannelName, isServerChannel } from "../channel-name.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError, quote } from "../errors.js";
import type { Position, Sender, Tags } from "../publication.js";
import { identityOf, isSubscribed } from "./checks.js";

export interface ClientPublication {
  /** Valid during the call. */
  readonly content: Payload;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  /** false: do not deliver to the sender. */
  readonly echo: boolean | undefined;
  /** Makes a repetition by the same user, or session, once where the channel keeps history. */
  readonly messageId: string | undefined;
}

/**
 * The outcome is told by the protocol's `published`, with `ref`.
 * @throws StarlingError unauthorized, bad_channel, forbidden, bad_request
 */
export function publish(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
  publication: ClientPublication,
  ref: unknown,
): void {
  const identity = identityOf(connection);
  checkChannelName(channel);
  if (isServerChannel(channel)) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(channel)} is reserved for the server: only the server API may publish to it`,
    );
  }
  if (!identity.mayPublish(channel)) {
    throw new StarlingError(
      "forbidden",
      `the token's "publish" claim does not cover channel ${quote(channel)}`,
    );
  }
  const { history, publish } = connection.app.rulesOf(channel);
  if (publish === "server" || (publish === "subscribers" && !isSubscribed(edge, connection, channel))) {
    const publishers = publish === "server" ? "the server API" : "subscribers";
    throw new StarlingError("forbidden", `only ${publishers} may publish to channel ${quote(channel)}`);
  }
  if (history !== undefined && publication.echo === false && connection.served.framing.positions) {
    throw holeError(channel, `"echo": false`);
  }
  connection.app.publications++;
  edge.broker.publish(new ClientRequest(connection, channel, publication, history, ref));
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

function senderOf({ id, userId }: Connection): Sender {
  if (lastSender.connection !== id || (lastSender.user ?? null) !== userId) {
    lastSender = userId === null ? { connection: id } : { connection: id, user: userId };
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
    ref: unknown,
  ) {
    this.key = connection.app.keyOf(channel);
    // The content is a view into the frame, which does not outlive this turn.
    this.payload = { bytes: Buffer.from(content.bytes), encoding: content.encoding };
    const { userId } = connection;
    this.from = senderOf(connection);
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
