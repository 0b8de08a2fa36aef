/** The native protocol as JSON text frames: subprotocol starling.v1.json, and clients that offer none. */

import { setBounded } from "../../core/bounded-map.js";
import type { Codec } from "./codec.js";
import {
  Field,
  FIELD_COUNT,
  actionAt,
  fieldAt,
  fieldNamed,
  isSecret,
  readCommand,
  type FieldReader,
} from "./command-fields.js";
import { StarlingError } from "../../core/errors.js";
import { FrameWriter } from "../../encoding/frame-writer.js";
import {
  KEY,
  ScanError,
  skipColon,
  skipSpace,
  skipString,
  skipValue,
  unexpected,
} from "../../encoding/json-scan.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import { type Command, type CommandId, type HistoryAnswer, type ServerMessage } from "./messages.js";
import { type Publication, type Sender } from "../../core/publication.js";
import { writeWelcome } from "./json-welcome.js";
import { isMapByte } from "../../encoding/msgpack-scan.js";
import { ownBytes } from "../../encoding/own-bytes.js";
import { bufferAt, shortTextAt, textAt } from "../../encoding/text-cache.js";
import { writeMsgpackAsJson } from "../../encoding/transcode.js";

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Which fields the frame being read has, one bit each, and where their values lie. Reused per frame. */
let found = 0;
const starts = new Int32Array(FIELD_COUNT);
const ends = new Int32Array(FIELD_COUNT);

/** @throws ScanError unless the frame is one JSON object; the last of equal keys counts, as in JSON.parse */
function findFields(frame: Uint8Array): void {
  found = 0;
  let at = skipSpace(frame, 0);
  if (frame[at] !== OPEN_BRACE) throw notAnObject(frame, at);
  at = skipSpace(frame, at + 1);
  if (frame[at] === CLOSE_BRACE) {
    at++;
  } else {
    for (;;) {
      if (frame[at] !== QUOTE) throw unexpected(frame, at, KEY);
      const keyEnd = skipString(frame, at);
      const field = fieldOfKey(frame, at, keyEnd);
      const start = skipColon(frame, keyEnd);
      const end = skipValue(frame, start);
      if (field !== -1) {
        found |= 1 << field;
        starts[field] = start;
        ends[field] = end;
      }
      at = skipSpace(frame, end);
      if (frame[at] === CLOSE_BRACE) break;
      if (frame[at] !== COMMA) throw unexpected(frame, at, '"," or "}"');
      at = skipSpace(frame, at + 1);
    }
    at++;
  }
  at = skipSpace(frame, at);
  if (at !== frame.length) throw unexpected(frame, at, "the end");
}

function notAnObject(frame: Uint8Array, at: number): ScanError {
  const wanted = 'an object such as {"action":"ping"}';
  if (frame.length === 0) return new ScanError(`the frame is empty, expected ${wanted}`, 0);
  const byte = frame[at];
  if (byte !== undefined && isMapByte(byte)) {
    return new ScanError(
      `expected ${wanted}, found a MessagePack map`,
      at,
      "its subprotocol is starling.v1.msgpack",
    );
  }
  return unexpected(frame, at, wanted);
}

/** `"\u0061ction"` is `"action"`: a key with an escape is compared unescaped. */
function fieldOfKey(frame: Uint8Array, start: number, end: number): number {
  const field = fieldAt(frame, start + 1, end - 1);
  if (field !== -1 || !hasBackslash(frame, start, end)) return field;
  return fieldNamed(JSON.parse(textAt(frame, start, end)) as string);
}

function hasBackslash(frame: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (frame[i] === BACKSLASH) return true;
  return false;
}

const NO_FRAME = new Uint8Array(0);

class JsonFields implements FieldReader {
  frame: Uint8Array = NO_FRAME;

  value(field: number): unknown {
    if ((found & (1 << field)) === 0) return undefined;
    const start = starts[field]!;
    const end = ends[field]!;
    const byte = this.frame[start]!;
    if (byte === QUOTE && !hasBackslash(this.frame, start, end)) {
      return isSecret(field)
        ? textAt(this.frame, start + 1, end - 1)
        : shortTextAt(this.frame, start + 1, end - 1);
    }
    return shortInteger(this.frame, start, end) ?? (JSON.parse(textAt(this.frame, start, end)) as unknown);
  }

  action(): unknown {
    if ((found & (1 << Field.action)) === 0) return undefined;
    const start = starts[Field.action]!;
    if (this.frame[start] !== QUOTE) return this.value(Field.action);
    return actionAt(this.frame, start + 1, ends[Field.action]! - 1) ?? this.value(Field.action);
  }

  payload(): Payload | undefined {
    if ((found & (1 << Field.content)) === 0) return undefined;
    const start = starts[Field.content]!;
    return { bytes: this.frame.subarray(start, ends[Field.content]), encoding: Encoding.json };
  }
}

/** Most ids are a few digits: no string, no parser. @returns undefined for anything else */
function shortInteger(frame: Uint8Array, start: number, end: number): number | undefined {
  if (end - start > 15) return undefined;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = frame[i]! - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

const fields = new JsonFields();

/** Longer beginnings are not kept. */
const LEAD_BYTES_MAX = 384;
/**
 * Frames mostly begin alike, `{"action":"send","channel":"room","content":`, and end with the content. What stands
 * around the name of the channel is then read once: comparing it takes a fifth of the time.
 */
const lead = new Uint8Array(LEAD_BYTES_MAX);
/** Up to and with the quote before the channel's name. */
let leadHeadLength = 0;
/** From the quote behind the name up to the content. */
let leadLength = 0;
let leadCommand: Command | undefined;
const LEAD_FIELDS = (1 << Field.action) | (1 << Field.channel) | (1 << Field.content);

function decode(frame: Uint8Array): Command {
  return decodeAlike(frame) ?? decodeAnew(frame);
}

/** @returns undefined unless the frame begins as the last one that was kept, and nothing but content follows */
function decodeAlike(frame: Uint8Array): Command | undefined {
  if (leadCommand === undefined || frame.length <= leadLength) return undefined;
  for (let i = leadHeadLength - 1; i >= 0; i--) if (frame[i] !== lead[i]) return undefined;
  const end = frame.length - 1;
  let at = leadHeadLength;
  for (; frame[at] !== QUOTE; at++) {
    // An escape, or what no string may hold, is for decodeAnew, as is a name without an end.
    if (frame[at] === BACKSLASH || frame[at]! < SPACE || at === end) return undefined;
  }
  const nameEnd = at;
  for (let i = leadHeadLength; i < leadLength; i++, at++) if (frame[at] !== lead[i]) return undefined;
  if (frame[end] !== CLOSE_BRACE) return undefined;
  try {
    if (skipValue(frame, at) !== end) return undefined;
  } catch (error) {
    // Told by decodeAnew.
    if (error instanceof ScanError) return undefined;
    throw error;
  }
  return {
    ...leadCommand,
    channel: shortTextAt(frame, leadHeadLength, nameEnd),
    content: { bytes: frame.subarray(at, end), encoding: Encoding.json },
  };
}

function decodeAnew(frame: Uint8Array): Command {
  try {
    findFields(frame);
  } catch (error) {
    if (error instanceof ScanError) throw new StarlingError("bad_frame", `bad JSON frame: ${error.message}`);
    throw error;
  }
  fields.frame = frame;
  try {
    const command = readCommand(fields);
    keepLead(frame, command);
    return command;
  } finally {
    fields.frame = NO_FRAME;
  }
}

function keepLead(frame: Uint8Array, command: Command): void {
  if (found !== LEAD_FIELDS || command.action !== "send") return;
  const start = starts[Field.content]!;
  const nameStart = starts[Field.channel]! + 1;
  const nameEnd = ends[Field.channel]! - 1;
  if (start > LEAD_BYTES_MAX || start < nameEnd || ends[Field.content] !== frame.length - 1) return;
  lead.set(frame.subarray(0, nameStart));
  lead.set(frame.subarray(nameEnd, start), nameStart);
  leadHeadLength = nameStart;
  leadLength = nameStart + start - nameEnd;
  leadCommand = { ...command, channel: undefined, content: undefined };
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
