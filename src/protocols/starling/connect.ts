/** The commands by which a connection gets its identity and its session: connect and refresh. */

import { authenticate } from "../../core/actions/authenticate.js";
import { NOT_RESUMED, recover, resume } from "../../core/actions/resume.js";
import type { Identity } from "../../core/authorizer.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import { StarlingError } from "../../core/errors.js";
import type { Command, ConnectReply } from "./messages.js";
import { recoveryFields } from "./notices.js";
import { identityOf, reply, send } from "./replies.js";

/** A client that gives its token with the upgrade may not know how to send another. Does not reject. */
export async function authenticateAtUpgrade(connection: ProtocolConnection, token: string): Promise<void> {
  try {
    await authenticate(connection.edge, connection, token);
    if (!connection.isClosed) connection.edge.registry.put(connection);
  } catch (error) {
    connection.fail(error, undefined);
    if (!(error instanceof StarlingError)) return;
    if (error.code === "token_invalid" || error.code === "token_expired") connection.close(error.code);
  }
}

/** @throws StarlingError of the authorizer; bad_request, unavailable, outcome_unknown */
export async function connect(connection: ProtocolConnection, command: Command): Promise<void> {
  const { edge } = connection;
  if (command.token !== undefined) await authenticate(edge, connection, command.token);
  if (connection.isClosed) return;
  const identity = identityOf(connection);
  const resumption =
    command.resume === undefined ? NOT_RESUMED : await resume(edge, connection, command.resume);
  const { resumed, reason, refused, recovering } = resumption;
  if (connection.isClosed) return;
  edge.registry.put(connection);
  const { userId } = identity;
  const answer: ConnectReply = {
    session: connection.sessionId,
    resume: connection.resumeToken,
    resumed,
    ...(reason === undefined ? {} : { reason }),
    ...(userId === null ? {} : { user: userId }),
    ...lifeOf(identity),
    channels: [...connection.channelNames(), ...recovering],
    ...(recovering.length === 0 ? {} : { recovering }),
    ...(refused.length === 0 ? {} : { refused }),
  };
  reply(connection, command.id, answer);
  await recover(edge, connection, resumption, command.positions, {
    joined: (channel, outcome) =>
      send(connection, { type: "subscribed", channel, ...recoveryFields(outcome) }),
    failed: (channel, { code, message }) =>
      send(connection, { type: "unsubscribed", channel, code, message }),
  });
}

/** @throws StarlingError of the authorizer; bad_request */
export async function refresh(connection: ProtocolConnection, command: Command): Promise<void> {
  identityOf(connection);
  if (command.token === undefined)
    throw new StarlingError("bad_request", '"token" is missing: refresh needs one');
  await authenticate(connection.edge, connection, command.token);
  if (connection.isClosed) return;
  connection.edge.registry.put(connection);
  reply(connection, command.id, lifeOf(identityOf(connection)));
}

/** What is left is told too: the client's clock may be another than this node's. */
function lifeOf({ expiresAt }: Identity): Pick<ConnectReply, "expiresAt" | "expiresInMs"> {
  if (expiresAt === undefined) return {};
  return { expiresAt, expiresInMs: Math.max(0, Math.round(expiresAt * 1000 - Date.now())) };
}
