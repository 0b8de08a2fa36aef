/** What commands have in common: the fields that they need, and their answers. */

import type { Identity } from "../../core/authorizer.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import { StarlingError } from "../../core/errors.js";
import { codecOf } from "./framing.js";
import type { Command, CommandId, ServerMessage } from "./messages.js";

export function send(connection: ProtocolConnection, message: ServerMessage): void {
  if (!connection.isClosed) connection.send(codecOf(connection).encode(message));
}

export function reply(connection: ProtocolConnection, id: CommandId | undefined, fields: object): void {
  if (id !== undefined) send(connection, { type: "reply", id, ...fields });
}

/** @throws StarlingError unauthorized */
export function identityOf({ identity, app }: ProtocolConnection): Identity {
  if (identity !== undefined) return identity;
  const { closed = 'send {"action":"connect","token":...} first' } = app.authorizer;
  throw new StarlingError("unauthorized", closed);
}

/** @throws StarlingError bad_request */
export function channelOf({ action, channel }: Command): string {
  if (channel !== undefined) return channel;
  throw new StarlingError("bad_request", `"channel" is missing: ${action} needs one`);
}
