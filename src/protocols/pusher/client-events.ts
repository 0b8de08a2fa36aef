/** Clients send events to each other, in private and presence channels. */

import { isSubscribed } from "../../core/actions/checks.js";
import { publish } from "../../core/actions/publish.js";
import { StarlingError, quote } from "../../core/errors.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import { TokenBucket } from "../../core/token-bucket.js";
import { isCache, isEncrypted, isPrivate } from "./channels.js";
import { contentOf, type ClientFrame } from "./client-frames.js";
import { pusherSettings, type PusherSettings } from "./settings.js";
import { keptStateOf } from "./state.js";

/** By which a client event that was refused is told. */
export const CLIENT_EVENT = Symbol("client event");

export function isClientEvent(event: string): boolean {
  return event.startsWith("client-");
}

/**
 * @param bytes  of the frame
 * @throws StarlingError forbidden, not_subscribed, too_large, rate_limited, bad_frame
 */
export function sendEvent(
  connection: ProtocolConnection,
  frame: ClientFrame,
  bytes: Uint8Array,
): Promise<void> | undefined {
  const { channel } = frame;
  if (typeof channel !== "string") {
    throw new StarlingError("bad_frame", `"channel" must be a string, not ${quote(channel)}`);
  }
  const joining = connection.leaving?.get(channel);
  // The frame does not outlive this turn.
  if (joining !== undefined) {
    const kept = Uint8Array.from(bytes);
    return joining.then(() => send(connection, channel, frame, kept));
  }
  return send(connection, channel, frame, bytes);
}

function send(
  connection: ProtocolConnection,
  channel: string,
  frame: ClientFrame,
  bytes: Uint8Array,
): Promise<void> | undefined {
  const { edge, app } = connection;
  const { event } = frame;
  const settings = pusherSettings(app);
  checkMaySend(connection, channel, settings);
  const content = contentOf(frame, bytes);
  checkSize("the name of a client event", Buffer.byteLength(event), settings, "maxEventNameBytes");
  checkSize("the data of a client event", content.bytes.length, settings, "maxDataBytes");
  takeRate(connection, settings);
  // A cache channel keeps what servers send.
  const keep = !isCache(channel);
  const publication = { content, event, tags: undefined, echo: false, messageId: undefined, keep };
  return publish(edge, connection, channel, publication, CLIENT_EVENT);
}

/** Counts it with the app, and tells the client. */
export function refuseEvent(connection: ProtocolConnection, error: unknown): void {
  const { counts } = connection.app;
  if (error instanceof StarlingError && !connection.isClosed) {
    if (error.code === "rate_limited") counts.clientEventsOverRate++;
    // What is temporary is no fault of the event's.
    else if (!error.temporary) counts.clientEventsRefused++;
  }
  connection.fail(error, CLIENT_EVENT);
}

/** @throws StarlingError forbidden, not_subscribed */
function checkMaySend(connection: ProtocolConnection, channel: string, settings: PusherSettings): void {
  if (!settings.clientEvents) {
    throw new StarlingError("forbidden", "client events are off in this app: set pusher.clientEvents");
  }
  if (!isPrivate(channel) || isEncrypted(channel)) {
    throw new StarlingError(
      "forbidden",
      `client events are for private and presence channels that are not encrypted, not for ${quote(channel)}`,
    );
  }
  if (!isSubscribed(connection.edge, connection, channel)) {
    throw new StarlingError(
      "not_subscribed",
      `this connection is not subscribed to ${quote(channel)}: subscribe before sending events to it`,
    );
  }
}

/** @throws StarlingError too_large */
function checkSize(
  what: string,
  bytes: number,
  settings: PusherSettings,
  limit: "maxEventNameBytes" | "maxDataBytes",
): void {
  const most = settings[limit];
  if (bytes <= most) return;
  throw new StarlingError(
    "too_large",
    `${what} has ${bytes} bytes, at most ${most} are allowed (pusher.${limit})`,
  );
}

/** @throws StarlingError rate_limited */
function takeRate(connection: ProtocolConnection, { clientEventsPerSecond }: PusherSettings): void {
  const state = keptStateOf(connection);
  const nowMs = performance.now();
  // The app's settings may have changed since.
  if (state.events?.perSecond !== clientEventsPerSecond) {
    const rate = { perSecond: clientEventsPerSecond, burst: clientEventsPerSecond };
    state.events = new TokenBucket({ ...rate, nowMs });
  }
  if (state.events.take(nowMs)) return;
  throw new StarlingError(
    "rate_limited",
    `client events of this connection reached their rate limit (pusher.clientEventsPerSecond ${clientEventsPerSecond})`,
    { retryAfterMs: 1000 },
  );
}
