import { StarlingError } from "../../core/errors.js";
import type { HttpResponse } from "../../core/transport.js";
import { checkUserId } from "../../protocols/pusher/channels.js";
import { DONE } from "./events.js";
import type { PusherCall } from "./operations.js";

/** Closes a user's connections on every node. Doing it once more does no harm. */
export async function terminateConnections({ operations, app, name }: PusherCall): Promise<HttpResponse> {
  checkUserId(name);
  const { missing } = await operations.disconnectUser(app.id, name, {
    reason: "terminated by the application",
  });
  if (missing.length === 0) return DONE;
  throw new StarlingError(
    "outcome_unknown",
    `nodes did not say in time that they closed the user's connections (${missing.slice(0, 5).join(", ")}): send it again`,
  );
}
