/** What several commands check and say. */

import { checkChannelName, isServerChannel } from "../protocol/channel-name.js";
import type { Codec } from "../protocol/codec.js";
import { StarlingError, quote } from "../protocol/errors.js";
import type { Command, CommandId } from "../protocol/messages.js";
import type { Identity } from "./authorizer.js";
import { channelKey } from "./channel.js";
import type { JoinOutcome } from "./channel-feed.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import * as few from "./few.js";

export function reply(connection: Connection, id: CommandId | undefined, fields: object): void {
  if (id !== undefined) connection.send({ type: "reply", id, ...fields });
}

/** @throws StarlingError too_large, bad_frame */
export function checkFrame(frame: Uint8Array, binary: boolean, codec: Codec, maxBytes: number): void {
  if (frame.length > maxBytes) {
    throw new StarlingError(
      "too_large",
      `the frame has ${frame.length} bytes, at most ${maxBytes} are allowed`,
    );
  }
  if (binary !== codec.binary) {
    throw new StarlingError(
      "bad_frame",
      `this connection speaks ${codec.subprotocol}: send ${codec.binary ? "binary" : "text"} frames`,
    );
  }
}

/** @throws StarlingError unauthorized */
export function identityOf(connection: Connection): Identity {
  if (connection.identity !== undefined) return connection.identity;
  throw new StarlingError("unauthorized", 'send {"action":"connect","token":...} first');
}

/** @throws StarlingError bad_request, bad_channel */
export function channelOf(command: Command): string {
  if (command.channel === undefined) {
    throw new StarlingError("bad_request", `"channel" is missing: ${command.action} needs one`);
  }
  checkChannelName(command.channel);
  return command.channel;
}

/** @throws StarlingError forbidden */
export function checkMaySubscribe(identity: Identity, channel: string): void {
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

export function isSubscribed(edge: EdgeContext, connection: Connection, channel: string): boolean {
  const local = edge.hub.channels.get(channelKey(connection.app, channel));
  return local !== undefined && few.has(connection.channels, local);
}

export function countRecovery(edge: EdgeContext, outcome: JoinOutcome | undefined): void {
  if (outcome?.recovered === true) edge.stats.recovered++;
  else if (outcome?.recovered === false) edge.stats.unrecovered++;
}

/** Excluding a receiver where positions count would leave a hole in its offsets. */
export function holeError(channel: string): StarlingError {
  return new StarlingError(
    "bad_request",
    `channel ${quote(channel)} keeps history: whoever is left out ("echo": false, or "exclude") would miss an offset`,
  );
}

/** Of a rule that the channel's namespace does not have: `history` or `presence`. */
export function notEnabled(channel: string, what: string): StarlingError {
  return new StarlingError(
    "not_enabled",
    `channel ${quote(channel)} keeps no ${what}: its namespace does not say so`,
  );
}

/** A message id as the broker knows it: nobody's repetition is taken for another's. */
export function scopedMessageId(scope: "user" | "session" | "api", of: string, messageId: string): string {
  return `${scope} ${of.length} ${of} ${messageId}`;
}
