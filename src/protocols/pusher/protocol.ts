/** Pusher's protocol 7 for core: clients of versions 5 and later, as pusher-js and Laravel Echo speak it. */

import type { Apps } from "../../core/app.js";
import { StarlingError, quote } from "../../core/errors.js";
import type { ErrorCode } from "../../core/errors.js";
import type { Notice } from "../../core/notices.js";
import type { Offer, Protocol, ProtocolConnection, Refusal } from "../../core/protocol.js";
import type { UpgradeRequest } from "../../core/transport.js";
import { bufferAt } from "../../encoding/text-cache.js";
import { CLIENT_EVENT, isClientEvent, refuseEvent, sendEvent } from "./client-events.js";
import { fieldsOf, readFrame } from "./client-frames.js";
import {
  BAD_PATH,
  BAD_VERSION,
  CLIENT_EVENT_REFUSED,
  UNAUTHORIZED,
  UNSUPPORTED_PROTOCOL,
  closeCodeOf,
  refusalCodeOf,
} from "./close-codes.js";
import { pusherFraming } from "./framing.js";
import { beginAsAnybody } from "./identity.js";
import {
  PING,
  PONG,
  connectionEstablished,
  errorFrame,
  isReservedEvent,
  subscriptionError,
  presenceSucceeded,
  type SubscriptionError,
} from "./messages.js";
import { signIn } from "./sign-in.js";
import { SubscriptionRef, join, leave } from "./subscriptions.js";

const OLDEST_PROTOCOL = 5;
const NEWEST_PROTOCOL = 7;
/** RFC 6455 7.1.5: there was no close frame. */
const ABNORMAL = 1006;

/** A refusal with a code of its own. */
interface PusherRefusal extends Refusal {
  readonly code: number;
}

/** @param prefix  that stands before `/app/...` in the path of an upgrade, unless a proxy took it off; "" for none */
export function createPusherProtocol({ prefix }: { readonly prefix: string }): Protocol {
  return {
    name: "pusher",
    framings: [pusherFraming],
    // A client that comes back subscribes anew.
    keepsSessions: false,
    obeysRetryAfter: false,
    isReservedEvent,
    pingsSilentOnly: true,

    admit(request, apps) {
      const key = keyIn(request, prefix);
      return key === undefined ? undefined : admit(request, { key, prefix }, apps);
    },

    refusal(refused) {
      const code = (refused as Partial<PusherRefusal>).code ?? refusalCodeOf(refused.reason);
      return { frame: errorFrame(code, refused.message), binary: false, code };
    },

    opened(connection) {
      const { edge, id } = connection;
      const timeout = Math.max(1, Math.ceil(edge.options.heartbeatIntervalMs / 1000));
      connection.send(connectionEstablished(edge.identifiers.numberOf(id), timeout));
      beginAsAnybody(connection);
    },

    frame(connection, bytes, binary) {
      if (binary) {
        if (!connection.isClosed) connection.close("unsupported_data", { message: "frames must be text" });
        return undefined;
      }
      const frame = readFrame(bytes);
      const { event } = frame;
      if (isClientEvent(event)) {
        try {
          const waiting = sendEvent(connection, frame, bytes);
          return waiting?.catch((error: unknown) => refuseEvent(connection, error));
        } catch (error) {
          refuseEvent(connection, error);
          return undefined;
        }
      }
      // Who is gone sends the events that it sent before, and nothing else.
      if (connection.isClosed) return undefined;
      switch (event) {
        case "pusher:ping":
          connection.send(PONG);
          return undefined;
        case "pusher:subscribe":
          return join(connection, fieldsOf(frame));
        case "pusher:unsubscribe":
          return leave(connection, fieldsOf(frame));
        case "pusher:signin":
          signIn(connection, fieldsOf(frame));
          return undefined;
        default:
          if (event.startsWith("pusher:")) return undefined;
          throw new StarlingError(
            "forbidden",
            `event ${quote(event)} is not a client's: names of client events begin with "client-"`,
          );
      }
    },

    answerPing(connection, bytes, binary) {
      if (binary || !bufferAt(bytes, 0, bytes.length).includes("pusher:ping")) return false;
      try {
        if (readFrame(bytes).event !== "pusher:ping") return false;
      } catch (error) {
        // It is told when it is its turn.
        if (error instanceof StarlingError) return false;
        throw error;
      }
      connection.send(PONG);
      return true;
    },

    refOf: () => undefined,

    published(connection, _ref, failure) {
      if (failure !== undefined) connection.fail(failure, CLIENT_EVENT);
    },

    notify,
    closeCode: closeCodeOf,
    peerClosed: (code) => (code === ABNORMAL ? "lost" : "goodbye"),

    beat(connection) {
      connection.send(PING);
      return connection.bufferedBytes() === 0;
    },
  };
}

/** @returns "" where the path names none; undefined: it is no path of Pusher's */
function keyIn({ path, query }: UpgradeRequest, prefix: string): string | undefined {
  for (const start of [`${prefix}/app`, "/app"]) {
    if (path === start) return "";
    if (path.startsWith(`${start}/`)) return path.slice(start.length + 1).replace(/\/$/, "");
  }
  // A client of Pusher's with another prefix: the native protocol would greet it in words that it does not know.
  return /\/app\//i.test(path) && /(?:^|&)protocol=\d/.test(query) ? "" : undefined;
}

function admit(
  { path, query }: UpgradeRequest,
  { key, prefix }: { readonly key: string; readonly prefix: string },
  apps: Apps,
): Offer | PusherRefusal {
  const version = new URLSearchParams(query).get("protocol");
  if (version !== null) {
    const refusal = versionProblem(version);
    if (refusal !== undefined) return refusal;
  }
  if (key === "") {
    const message = `path ${quote(path)} names no app: connect to ${prefix}/app/ and a key of the app behind it; pusherPath sets what stands before`;
    return { reason: "app", status: 404, message, code: BAD_PATH };
  }
  const app = apps.ofKey(key);
  if (app === undefined) {
    const message = `no app of this node has the key ${quote(key)}: give it with STARLING_APP_ID, _KEY and _SECRET or in apps`;
    return { reason: "app_key", status: 404, message, code: refusalCodeOf("app_key") };
  }
  return { app, framing: pusherFraming, subprotocol: undefined, proof: undefined };
}

function versionProblem(version: string): PusherRefusal | undefined {
  const refused = (code: number, message: string): PusherRefusal => {
    return { reason: "version", status: 400, message, code };
  };
  if (!/^\d{1,3}$/.test(version)) return refused(BAD_VERSION, `protocol ${quote(version)} is no number`);
  if (Number(version) >= OLDEST_PROTOCOL && Number(version) <= NEWEST_PROTOCOL) return undefined;
  const served = `${OLDEST_PROTOCOL} to ${NEWEST_PROTOCOL} are served`;
  return refused(UNSUPPORTED_PROTOCOL, `protocol ${version} is not supported: ${served}`);
}

function notify(connection: ProtocolConnection, notice: Notice): void {
  const frame = frameOf(notice);
  if (frame !== undefined) connection.send(frame);
}

/** undefined: the protocol has no words for it. */
function frameOf(notice: Notice): Uint8Array | undefined {
  switch (notice.kind) {
    case "error": {
      const { error, ref } = notice;
      if (ref instanceof SubscriptionRef) return subscriptionError(ref.channel, subscriptionProblem(error));
      if (ref !== CLIENT_EVENT) return errorFrame(null, error.message);
      return errorFrame(error.code === "not_subscribed" ? UNAUTHORIZED : CLIENT_EVENT_REFUSED, error.message);
    }
    case "revoked":
      return errorFrame(null, `the subscription to ${quote(notice.channel)} ended: ${notice.message}`);
    case "members":
      return presenceSucceeded(notice.channel, notice.snapshot);
    case "closing": {
      const { reason, message } = notice.closing;
      // Of other reasons the close tells enough.
      return reason === "connect_timeout" ? errorFrame(closeCodeOf(reason), message) : undefined;
    }
    case "repaired":
      return undefined;
  }
}

const PROBLEMS: Partial<Readonly<Record<ErrorCode, Omit<SubscriptionError, "error">>>> = {
  forbidden: { type: "AuthError", status: 401 },
  bad_request: { type: "AuthError", status: 401 },
  channel_limit: { type: "LimitReached", status: 403 },
  too_large: { type: "LimitReached", status: 413 },
  bad_channel: { type: "BadRequest", status: 400 },
};

function subscriptionProblem({ code, message }: StarlingError): SubscriptionError {
  return { ...(PROBLEMS[code] ?? { type: "ServerError", status: 503 }), error: message };
}
