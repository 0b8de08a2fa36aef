/** Notices and outcomes of core as messages of the native protocol. */

import type { JoinOutcome } from "../../core/channel-feed.js";
import { ERROR_CODES, type StarlingError } from "../../core/errors.js";
import type { ChannelNotice, DroppedFrames, Notice, PresenceSnapshot } from "../../core/notices.js";
import type { PresenceMember } from "../../core/presence.js";
import { closeCodeOf, mayReconnect } from "./close-codes.js";
import type {
  CommandId,
  ErrorMessage,
  Member,
  PresenceMessage,
  ServerMessage,
  RecoveryFields,
} from "./messages.js";

/** undefined: clients of this protocol are not told. */
export function channelMessage(channel: string, notice: ChannelNotice): ServerMessage | undefined {
  switch (notice.kind) {
    case "gap":
      return { type: "gap", channel, recovered: false, ...notice.position };
    case "join":
    case "leave":
    case "update":
      return { type: notice.kind, channel, ...memberOf(notice.member) };
    case "presence":
      return presenceMessage(channel, notice);
    case "subscribers":
      return undefined;
  }
}

export function messageOf(notice: Notice): ServerMessage {
  switch (notice.kind) {
    case "error":
      return errorMessage(notice.error, notice.ref as CommandId | undefined, notice.dropped);
    case "revoked":
      return {
        type: "unsubscribed",
        channel: notice.channel,
        code: notice.reason === "expired" ? "token_expired" : "forbidden",
        message: notice.message,
      };
    case "repaired":
      return {
        type: "gap",
        channel: notice.channel,
        ...recoveryFields(notice.outcome),
        recovered: notice.recovered,
      };
    case "members":
      return presenceMessage(notice.channel, notice.snapshot);
    case "closing": {
      const { reason, message, retryAfterMs } = notice.closing;
      const code = closeCodeOf(reason);
      return {
        type: "closing",
        code,
        reason: message,
        reconnect: mayReconnect(code),
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      };
    }
  }
}

export function errorMessage(
  { code, message, retryAfterMs }: StarlingError,
  id: CommandId | undefined,
  dropped: DroppedFrames | undefined,
): ErrorMessage {
  return {
    type: "error",
    ...(id === undefined ? {} : { id }),
    code,
    message,
    temporary: ERROR_CODES[code].temporary,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(dropped === undefined ? {} : { dropped }),
  };
}

function presenceMessage(channel: string, { first, connections, users }: PresenceSnapshot): PresenceMessage {
  return { type: "presence", channel, members: first.map(memberOf), connections, users };
}

export function memberOf({ connection, user, info }: PresenceMember): Member {
  if (info === undefined) return user === null ? { connection } : { connection, user };
  return { connection, ...(user === null ? {} : { user }), info: JSON.parse(info) as unknown };
}

/** What a subscriber is told of where it stands. */
export function recoveryFields({ recovered, position, missed }: JoinOutcome): RecoveryFields {
  return {
    offset: position.offset,
    epoch: position.epoch,
    ...(recovered === undefined ? {} : { recovered }),
    ...(recovered === undefined && missed.length === 0 ? {} : { missed: missed.length }),
  };
}
