/** What the server says of a channel, as the application gets it. The frames are its word: checked first. */

import { fromBase64 } from "./codec-json.js";
import { StarlingError, messageOf } from "./error.js";
import { stringOf, type Frame } from "./frames.js";
import { positionOf } from "./position.js";
import type { HistoryPage, Member, Message, Presence, PresenceChange, PresenceStats } from "./types.js";

function listOf(value: unknown): Frame[] {
  const items: unknown[] = Array.isArray(value) ? value : [];
  return items.filter((item): item is Frame => typeof item === "object" && item !== null);
}

/** @throws StarlingError bad_frame */
export function historyOf(channel: string, reply: Frame): HistoryPage {
  const top = positionOf(reply);
  if (top === undefined) throw unreadable(channel, "it has no position");
  const publications = listOf(reply["publications"]).map(({ contentBase64, ...rest }): Message => {
    const message = { channel, ...rest } as unknown as Message;
    if (typeof contentBase64 !== "string") return message;
    try {
      return { ...message, content: fromBase64(contentBase64) };
    } catch (cause) {
      throw unreadable(channel, messageOf(cause), cause);
    }
  });
  return { publications, ...top, more: reply["more"] === true };
}

function unreadable(channel: string, why: string, cause?: unknown): StarlingError {
  const message = `history of "${channel}": the reply could not be read: ${why}`;
  return new StarlingError("bad_frame", message, { cause, sent: true });
}

export function statsOf(channel: string, { connections, users }: Frame): PresenceStats {
  return { channel, connections: Number(connections), users: Number(users) };
}

export function presenceOf(channel: string, frame: Frame): Presence {
  return { ...statsOf(channel, frame), members: listOf(frame["members"]).map(memberOf) };
}

export function changeOf(channel: string, frame: Frame): PresenceChange {
  return { channel, ...memberOf(frame) };
}

/** An anonymous member may be said to have no user, or null; one that shows nothing no info, or null. */
function memberOf(frame: Frame): Member {
  const user = stringOf(frame["user"]);
  const info = frame["info"] ?? undefined;
  return {
    connection: String(frame["connection"]),
    ...(user === undefined ? {} : { user }),
    ...(info === undefined ? {} : { info }),
  };
}
