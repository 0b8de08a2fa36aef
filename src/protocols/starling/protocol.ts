/** Starling's own protocol, which PROTOCOL.md documents. */

import type { ProtocolConnection } from "../../core/protocol.js";
import { StarlingError, quote } from "../../core/errors.js";
import type { Offer, Protocol, Refusal } from "../../core/protocol.js";
import type { UpgradeRequest } from "../../core/transport.js";
import { bufferAt } from "../../encoding/text-cache.js";
import { closeCodeOf, peerClosed } from "./close-codes.js";
import { CommandError } from "./command-fields.js";
import { execute, ping } from "./commands.js";
import { authenticateAtUpgrade } from "./connect.js";
import { CONVERSATIONS } from "./conversations.js";
import { FRAMINGS, codecOf, type StarlingFraming } from "./framing.js";
import type { Command, CommandId } from "./messages.js";
import { messageOf } from "./notices.js";
import { reply, send } from "./replies.js";
import { welcome } from "./welcome.js";

export const starlingProtocol: Protocol = {
  name: "starling",
  framings: FRAMINGS,
  keepsSessions: true,
  obeysRetryAfter: true,
  conversations: CONVERSATIONS,

  /** Takes every request: it is asked last. */
  admit(request, apps): Offer | Refusal {
    const framing = framingFor(request);
    if (framing === undefined) {
      const asked = quote(request.allSubprotocols.join(", "));
      const known = FRAMINGS.map(({ codec }) => codec.subprotocol).join(", ");
      return {
        reason: "subprotocol",
        status: 400,
        message: `unsupported subprotocol ${asked}; supported: ${known}`,
      };
    }
    const { query, subprotocols } = request;
    const asked = query === "" ? undefined : new URLSearchParams(query);
    const appId = asked?.get("app") ?? undefined;
    const app = appId === undefined ? apps.main : apps.get(appId);
    if (app === undefined) {
      return { reason: "app", status: 404, message: `unknown app ${quote(appId)}` };
    }
    return {
      app,
      framing,
      subprotocol: subprotocols.length === 0 ? undefined : framing.codec.subprotocol,
      proof: asked?.get("token") ?? undefined,
    };
  },

  opened(connection) {
    send(connection, welcome(connection));
    const token = connection.takeProof();
    if (token !== undefined) connection.wait(authenticateAtUpgrade(connection, token));
  },

  frame(connection, bytes, binary) {
    let id: CommandId | undefined;
    try {
      const command = decode(connection, bytes, binary);
      if (connection.isClosed && command.action !== "send") return undefined;
      id = command.id;
      const waiting = execute(connection, command);
      return waiting?.catch((error: unknown) => connection.fail(error, id));
    } catch (error) {
      if (error instanceof CommandError) id = error.commandId;
      connection.fail(error, id);
      return undefined;
    }
  },

  answerPing(connection, bytes, binary) {
    // Most frames are read but once.
    if (!bufferAt(bytes, 0, bytes.length).includes("ping")) return false;
    let command: Command;
    try {
      command = decode(connection, bytes, binary);
    } catch (error) {
      // It is told when it is its turn.
      if (error instanceof StarlingError) return false;
      throw error;
    }
    if (command.action !== "ping") return false;
    ping(connection, command);
    return true;
  },

  refOf(connection, bytes, binary): CommandId | undefined {
    try {
      return decode(connection, bytes, binary).id;
    } catch (error) {
      return error instanceof CommandError ? error.commandId : undefined;
    }
  },

  published(connection, ref, failure, position) {
    if (failure !== undefined) connection.fail(failure, ref);
    else if (ref !== undefined) reply(connection, ref as CommandId, position ?? {});
  },

  notify(connection, notice) {
    send(connection, messageOf(notice));
  },

  closeCode: closeCodeOf,
  peerClosed,
  beat: (connection) => connection.ping(),
};

/** @throws StarlingError bad_frame, bad_request, too_large; CommandError where the command has an id */
function decode(connection: ProtocolConnection, bytes: Uint8Array, binary: boolean): Command {
  const codec = codecOf(connection);
  if (binary !== codec.binary) {
    throw new StarlingError(
      "bad_frame",
      `the subprotocol is ${codec.subprotocol}: send ${codec.binary ? "binary" : "text"} frames`,
    );
  }
  return codec.decode(bytes);
}

/** The first that the client offered and this node speaks; without an offer the first of all. */
function framingFor(request: UpgradeRequest): StarlingFraming | undefined {
  if (request.subprotocols.length === 0) return FRAMINGS[0];
  // RFC 6455 11.3.4 lets them stand in several headers. Those of the first one come first anyhow.
  return amongOffered(request.subprotocols) ?? amongOffered(request.allSubprotocols);
}

function amongOffered(subprotocols: readonly string[]): StarlingFraming | undefined {
  for (const offered of subprotocols) {
    const framing = FRAMINGS.find(({ codec }) => codec.subprotocol === offered);
    if (framing !== undefined) return framing;
  }
  return undefined;
}
