/** Clients prove who they are, by user_data that their application signed. */

import { StarlingError, quote } from "../../core/errors.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import { UNAUTHORIZED } from "./close-codes.js";
import { textField } from "./client-frames.js";
import { signedIn } from "./identity.js";
import { readClaimed, readInfo } from "./member.js";
import { errorFrame, signinSuccess } from "./messages.js";
import { checkAuth } from "./proof.js";
import { pusherSettings } from "./settings.js";
import { keptStateOf, stateOf, type SignedIn } from "./state.js";

/** @throws StarlingError bad_frame, bad_request, too_large, forbidden */
export function signIn(connection: ProtocolConnection, fields: Readonly<Record<string, unknown>>): void {
  const auth = textField(fields, "auth");
  const userData = textField(fields, "user_data");
  const { app, edge } = connection;
  const problem = checkAuth(app, auth, `${edge.identifiers.numberOf(connection.id)}::user::${userData}`);
  if (problem !== undefined) {
    edge.stats.reject("forbidden");
    edge.logRefusal(`a sign-in was refused: ${problem}`, () => ({ app: app.id, connection: connection.id }));
    connection.send(errorFrame(UNAUTHORIZED, problem));
    connection.close("token_invalid", { message: "the sign-in was refused" });
    return;
  }
  const { id, idIsNumber } = readClaimed("user_data", userData, "id");
  if (idIsNumber) throw new StarlingError("bad_request", `"id" of "user_data" must be a string`);
  const known = stateOf(connection)?.user;
  if (known !== undefined && known.id !== id) {
    throw new StarlingError(
      "forbidden",
      `this connection is signed in as ${quote(known.id)}: open another one for ${quote(id)}`,
    );
  }
  keptStateOf(connection).user = { id, ...shownBy(connection, userData, id) };
  signedIn(connection, id);
  if (connection.isClosed) return;
  edge.registry.put(connection);
  connection.send(signinSuccess(userData));
}

/** What is too much for a presence channel is none the less good for a user. */
function shownBy({ app }: ProtocolConnection, userData: string, id: string): Omit<SignedIn, "id"> {
  try {
    const info = readInfo("user_data", userData, id, pusherSettings(app).maxPresenceMemberBytes);
    return { info, problem: undefined };
  } catch (error) {
    if (error instanceof StarlingError) return { info: undefined, problem: error };
    throw error;
  }
}
