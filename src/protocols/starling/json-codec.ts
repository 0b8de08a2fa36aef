/** The native protocol as JSON text frames: subprotocol starling.v1.json, and clients that offer none. */

import { setBounded } from "../../core/bounded-map.js";
import { StarlingError } from "../../core/errors.js";
import type { Publication, Sender } from "../../core/publication.js";
import { FrameWriter } from "../../encoding/frame-writer.js";
import { ScanError } from "../../encoding/json-scan.js";
import { ownBytes } from "../../encoding/own-bytes.js";
import { Encoding } from "../../encoding/payload.js";
import { bufferAt } from "../../encoding/text-cache.js";
import { writeTextAsJson } from "../../encoding/text-content.js";
import { writeMsgpackAsJson } from "../../encoding/transcode.js";
import type { Codec } from "./codec.js";
import { readCommand } from "./command-fields.js";
import { FrameTemplate } from "./frame-template.js";
import { JsonFrameReader } from "./json-frame-reader.js";
import { writeWelcome } from "./json-welcome.js";
import type { Command, CommandId, HistoryAnswer, ServerMessage } from "./messages.js";

const COMMA = 0x2c;
const CLOSE_BRACE = 0x7d;

const reader = new JsonFrameReader();
const template = new FrameTemplate();

function decode(frame: Uint8Array): Command {
  return template.decode(frame) ?? decodeInFull(frame);
}

function decodeInFull(frame: Uint8Array): Command {
  try {
    reader.read(frame);
    const command = readCommand(reader);
    template.keep(frame, command, reader);
    return command;
  } catch (error) {
    if (error instanceof ScanError) throw new StarlingError("bad_frame", `bad JSON frame: ${error.message}`);
    throw error;
  } finally {
    reader.done();
  }
}

const writer = new FrameWriter();
const CONTENT_KEY = '"content":';
/** What still stands at the writer's start. */
let writtenHead: Uint8Array | undefined;
const EPOCHS_KEPT = 4_096;
interface Tail {
  readonly connection: string;
  readonly user: string | undefined;
  readonly bytes: Uint8Array;
}

/** How the frames of the last sender end where nothing follows it, and those of senders before. */
let tail: Tail | undefined;
const tails = new Map<string, Tail>();
const TAILS_KEPT = 4_096;

function head(channel: string): Uint8Array {
  return ownBytes(`{"type":"message","channel":${JSON.stringify(channel)},${CONTENT_KEY}`);
}

function encodePublication(head: Uint8Array, publication: Publication): Uint8Array {
  const { payload, from, event, tags, position } = publication;
  if (head === writtenHead) {
    writer.restart(head.length);
  } else {
    writer.restart(0);
    writer.bytes(head);
    writtenHead = head;
  }
  if (payload.encoding === Encoding.json) {
    writer.bytes(payload.bytes);
  } else if (payload.encoding === Encoding.msgpack) {
    writeMsgpackAsJson(writer, payload.bytes);
  } else if (payload.encoding === Encoding.text) {
    writeTextAsJson(writer, payload.bytes);
  } else {
    const base64 = bufferAt(payload.bytes, 0, payload.bytes.length).toString("base64");
    // In the place of the head's last key.
    writer.restart(head.length - CONTENT_KEY.length);
    writtenHead = undefined;
    writer.ascii(`"contentBase64":"${base64}"`);
  }
  if (from === undefined) {
    writer.ascii("}");
  } else {
    if (tail === undefined || !isOf(tail, from)) tail = tailOf(from);
    writer.bytes(tail.bytes);
  }
  if (event === undefined && tags === undefined && position === undefined) return writer.written();
  // Over the closing brace.
  writer.position--;
  if (event !== undefined) writer.utf8(`,"event":${JSON.stringify(event)}`);
  if (tags !== undefined) writer.utf8(`,"tags":${JSON.stringify(tags)}`);
  if (position === undefined) {
    writer.uint8(CLOSE_BRACE);
    return writer.written();
  }
  writer.copy(OFFSET_KEY, 0, OFFSET_KEY.length);
  writer.digits(position.offset);
  writer.bytes(epochTails.get(position.epoch) ?? keepEpochTail(position.epoch));
  return writer.written();
}

const OFFSET_KEY = Buffer.from(',"offset":');
/** How frames end whose positions have this epoch. */
const epochTails = new Map<string, Uint8Array>();

function keepEpochTail(epoch: string): Uint8Array {
  return setBounded(epochTails, EPOCHS_KEPT, epoch, ownBytes(`,"epoch":${JSON.stringify(epoch)}}`));
}

function isOf({ connection, user }: Tail, from: Sender): boolean {
  return connection === from.connection && user === from.user;
}

function tailOf(from: Sender): Tail {
  const known = tails.get(from.connection);
  if (known !== undefined && isOf(known, from)) return known;
  const { connection, user } = from;
  const bytes = ownBytes(`,"from":${JSON.stringify({ connection, user })}}`);
  return setBounded(tails, TAILS_KEPT, connection, { connection, user, bytes });
}

const control = new FrameWriter();

function encode(message: ServerMessage): Uint8Array {
  control.restart(0);
  if (message.type === "welcome") writeWelcome(control, message);
  else control.utf8(JSON.stringify(message));
  return control.written();
}

const HISTORY_ITEM_HEAD = ownBytes(`{${CONTENT_KEY}`);

function encodeHistory(id: CommandId, answer: HistoryAnswer): Uint8Array {
  control.restart(0);
  control.utf8(`{"type":"reply","id":${JSON.stringify(id)},`);
  writeHistory(answer);
  return control.written();
}

/** The body of the API's answer; as encode. */
export function encodeHistoryBody(answer: HistoryAnswer): Uint8Array {
  control.restart(0);
  control.ascii("{");
  writeHistory(answer);
  return control.written();
}

function writeHistory({ channel, publications, top, more, maxBytes }: HistoryAnswer): void {
  control.utf8(`"channel":${JSON.stringify(channel)},"publications":[`);
  let count = 0;
  for (const publication of publications) {
    const item = encodePublication(HISTORY_ITEM_HEAD, publication);
    if (count > 0) {
      if (control.position + item.length > maxBytes) break;
      control.uint8(COMMA);
    }
    control.bytes(item);
    count++;
  }
  const rest = { offset: top.offset, epoch: top.epoch, more: more || count < publications.length };
  control.utf8(`],${JSON.stringify(rest).slice(1)}`);
}

export const jsonCodec: Codec = {
  name: "json",
  topicPrefix: "j",
  subprotocol: "starling.v1.json",
  binary: false,
  encoding: Encoding.json,
  decode,
  encode,
  head,
  encodePublication,
  encodeHistory,
};
