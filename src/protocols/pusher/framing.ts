/** How publications and notices of a channel look to Pusher clients. */

import { setBounded } from "../../core/bounded-map.js";
import type { Framing } from "../../core/framing.js";
import type { ChannelNotice } from "../../core/notices.js";
import type { Publication, Sender } from "../../core/publication.js";
import { FrameWriter } from "../../encoding/frame-writer.js";
import { ownBytes } from "../../encoding/own-bytes.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import { bufferAt } from "../../encoding/text-cache.js";
import { msgpackToJson, writeJsonString } from "../../encoding/transcode.js";
import { isPresence, pusherName } from "./channels.js";
import { memberAdded, memberRemoved, subscriptionCount, presenceSucceeded } from "./messages.js";

/** The event of a publication that names none. */
export const PLAIN_EVENT = "message";

const CLOSE_BRACE = 0x7d;
const EVENTS_KEPT = 4_096;

const writer = new FrameWriter();
/** What still stands at the writer's start. */
let writtenHead: Uint8Array | undefined;
/** What stands between head and data, by the event's name. */
const eventParts = new Map<string, Uint8Array>();
const PLAIN_PART = eventPart(PLAIN_EVENT);

/** Heads of presence channels, whose client events say who sent them. */
const presenceHeads = new WeakSet<Uint8Array>();

function head(channel: string): Uint8Array {
  const name = pusherName(channel);
  const bytes = ownBytes(`{"channel":${JSON.stringify(name)},"event":`);
  if (isPresence(name)) presenceHeads.add(bytes);
  return bytes;
}

function eventPart(event: string): Uint8Array {
  return ownBytes(`${JSON.stringify(event)},"data":`);
}

function partOf(event: string | undefined): Uint8Array {
  if (event === undefined) return PLAIN_PART;
  return eventParts.get(event) ?? setBounded(eventParts, EVENTS_KEPT, event, eventPart(event));
}

function publication(head: Uint8Array, { payload, from, event }: Publication): Uint8Array {
  if (head === writtenHead) {
    writer.restart(head.length);
  } else {
    writer.restart(0);
    writer.bytes(head);
    writtenHead = head;
  }
  writer.bytes(partOf(event));
  writeData(payload);
  if (from?.user !== undefined && event !== undefined && presenceHeads.has(head)) writeUser(from, event);
  writer.uint8(CLOSE_BRACE);
  return writer.written();
}

/** As a string: the text itself, or a value's JSON. */
function writeData({ bytes, encoding }: Payload): void {
  switch (encoding) {
    case Encoding.json:
    case Encoding.text:
      writeJsonString(writer, bytes, 0, bytes.length);
      break;
    case Encoding.msgpack:
      writer.utf8(JSON.stringify(msgpackToJson(bytes)));
      break;
    case Encoding.binary:
      writer.ascii(`"${bufferAt(bytes, 0, bytes.length).toString("base64")}"`);
      break;
  }
}

function writeUser({ user }: Sender, event: string): void {
  if (event.startsWith("client-")) writer.utf8(`,"user_id":${JSON.stringify(user)}`);
}

function notice(channel: string, told: ChannelNotice): Uint8Array | undefined {
  const name = pusherName(channel);
  if (told.kind === "subscribers") return isPresence(name) ? undefined : subscriptionCount(name, told.count);
  if (!isPresence(name)) return undefined;
  switch (told.kind) {
    case "join":
      return memberAdded(name, told.member);
    case "leave":
      return memberRemoved(name, told.member);
    case "presence":
      return presenceSucceeded(name, told);
    // The protocol has no words for them.
    case "gap":
    case "update":
      return undefined;
  }
}

export const pusherFraming: Framing = {
  name: "json",
  topicPrefix: "p",
  binary: false,
  positions: false,
  tellsUserOfItself: false,
  head,
  publication,
  notice,
};
