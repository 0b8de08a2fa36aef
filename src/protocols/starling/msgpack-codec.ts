/** The native protocol as MessagePack binary frames: subprotocol starling.v1.msgpack. */

import type { Codec } from "./codec.js";
import {
  Field,
  FIELD_COUNT,
  actionAt,
  fieldAt,
  isSecret,
  readCommand,
  type FieldReader,
} from "./command-fields.js";
import { StarlingError } from "../../core/errors.js";
import { FrameWriter } from "../../encoding/frame-writer.js";
import { ScanError } from "../../encoding/json-scan.js";
import {
  binaryBody,
  isBinary,
  isString,
  openMap,
  skipBinary,
  skipMsgpack,
  stringHead,
  stringStart,
} from "../../encoding/msgpack-scan.js";
import {
  closeContainer,
  openContainer,
  writeBinary,
  writeBoolean,
  writeNumber,
  writePlain,
  writeString,
} from "../../encoding/msgpack-writer.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import { type Command, type CommandId, type HistoryAnswer, type ServerMessage } from "./messages.js";
import { type Publication } from "../../core/publication.js";
import { bufferAt, shortTextAt, textAt } from "../../encoding/text-cache.js";
import { writeTextAsMsgpack } from "../../encoding/text-content.js";
import { msgpackToJson, pack, writeJsonAsMsgpack } from "../../encoding/transcode.js";

/** Which fields the frame being read has, one bit each, and where their values lie. Reused per frame. */
let found = 0;
const starts = new Int32Array(FIELD_COUNT);
const ends = new Int32Array(FIELD_COUNT);

/** The last of equal keys counts, as in the JSON codec. */
function findFields(frame: Uint8Array): void {
  found = 0;
  if (frame.length === 0) throw new ScanError("the frame is empty, expected a map", 0);
  const map = openMap(frame, 0);
  let at = map.at;
  for (let entry = 0; entry < map.entries; entry++) {
    const keyStart = stringStart(frame, at);
    const start = skipMsgpack(frame, at);
    const field = fieldAt(frame, keyStart, start);
    at =
      field === Field.content && isBinary(frame[start])
        ? skipBinary(frame, start)
        : skipMsgpack(frame, start);
    if (field !== -1) {
      found |= 1 << field;
      starts[field] = start;
      ends[field] = at;
    }
  }
  if (at !== frame.length) {
    throw new ScanError(`expected the end of the frame, found ${frame.length - at} more bytes`, at);
  }
}

const NO_FRAME = new Uint8Array(0);

class MsgpackFields implements FieldReader {
  frame: Uint8Array = NO_FRAME;

  value(field: number): unknown {
    if ((found & (1 << field)) === 0) return undefined;
    const start = starts[field]!;
    const end = ends[field]!;
    const byte = this.frame[start]!;
    if (byte <= 0x7f) return byte;
    if (isString(byte)) {
      const textStart = start + stringHead(byte);
      return isSecret(field) ? textAt(this.frame, textStart, end) : shortTextAt(this.frame, textStart, end);
    }
    // By way of JSON, so that both codecs see the same: msgpackr makes bigints and renames `__proto__`.
    return JSON.parse(msgpackToJson(this.frame.subarray(start, end)));
  }

  action(): unknown {
    if ((found & (1 << Field.action)) === 0) return undefined;
    const start = starts[Field.action]!;
    const byte = this.frame[start]!;
    if (!isString(byte)) return this.value(Field.action);
    return actionAt(this.frame, start + stringHead(byte), ends[Field.action]!) ?? this.value(Field.action);
  }

  payload(): Payload | undefined {
    if ((found & (1 << Field.content)) === 0) return undefined;
    const start = starts[Field.content]!;
    const end = ends[Field.content]!;
    if (isBinary(this.frame[start])) {
      return { bytes: binaryBody(this.frame, start, end), encoding: Encoding.binary };
    }
    return { bytes: this.frame.subarray(start, end), encoding: Encoding.msgpack };
  }
}

const fields = new MsgpackFields();
const writer = new FrameWriter();

function decode(frame: Uint8Array): Command {
  try {
    findFields(frame);
  } catch (error) {
    if (error instanceof ScanError) {
      throw new StarlingError("bad_frame", `bad MessagePack frame: ${error.message}`);
    }
    throw error;
  }
  fields.frame = frame;
  try {
    return readCommand(fields);
  } finally {
    fields.frame = NO_FRAME;
  }
}

/** A field's name as it stands in a frame. */
function key(name: string): Buffer {
  return pack(name);
}

const TYPE_MESSAGE_CHANNEL = Buffer.concat([key("type"), key("message"), key("channel")]);
const CONTENT = key("content");
const CONTENT_BASE64 = key("contentBase64");
const FROM_CONNECTION = [0x81, 0x82].map((head) =>
  Buffer.concat([key("from"), Buffer.of(head), key("connection")]),
);
const USER = key("user");
const EVENT = key("event");
const TAGS = key("tags");
const OFFSET = key("offset");
const EPOCH = key("epoch");

function put(bytes: Buffer): void {
  writer.copy(bytes, 0, bytes.length);
}

/** Behind the byte that says how many fields there are. */
function head(channel: string): Uint8Array {
  // In memory of its own, as ownBytes has it.
  return Uint8Array.from(Buffer.concat([TYPE_MESSAGE_CHANNEL, pack(channel), CONTENT]));
}

function encodePublication(head: Uint8Array, publication: Publication): Uint8Array {
  const { payload } = publication;
  writer.restart(0);
  writer.uint8(0x80 | (3 + restCount(publication)));
  writer.bytes(head);
  writePayload(payload);
  writeRest(publication);
  return writer.written();
}

function writePayload(payload: Payload): void {
  if (payload.encoding === Encoding.msgpack) writer.bytes(payload.bytes);
  else if (payload.encoding === Encoding.json) writeJsonAsMsgpack(writer, payload.bytes);
  else if (payload.encoding === Encoding.text) writeTextAsMsgpack(writer, payload.bytes);
  else writeBinary(writer, payload.bytes);
}

/** Fields of a publication besides its content. */
function restCount({ from, event, tags, position }: Publication): number {
  return (
    (from === undefined ? 0 : 1) +
    (event === undefined ? 0 : 1) +
    (tags === undefined ? 0 : 1) +
    (position === undefined ? 0 : 2)
  );
}

function writeRest({ from, event, tags, position }: Publication): void {
  if (from !== undefined) {
    put(FROM_CONNECTION[from.user === undefined ? 0 : 1]!);
    writeString(writer, from.connection);
    if (from.user !== undefined) {
      put(USER);
      writeString(writer, from.user);
    }
  }
  if (event !== undefined) {
    put(EVENT);
    writeString(writer, event);
  }
  if (tags !== undefined) {
    put(TAGS);
    writePlain(writer, tags);
  }
  if (position !== undefined) {
    put(OFFSET);
    writeNumber(writer, position.offset);
    put(EPOCH);
    writeString(writer, position.epoch);
  }
}

function encodeHistory(
  id: CommandId,
  { channel, publications, top, more, maxBytes }: HistoryAnswer,
): Uint8Array {
  writer.restart(0);
  writer.uint8(0x87);
  writePlainField("type", "reply");
  writePlainField("id", id);
  writePlainField("channel", channel);
  writeString(writer, "publications");
  const list = openContainer(writer);
  let count = 0;
  for (const publication of publications) {
    const start = writer.position;
    writeHistoryItem(publication);
    if (count > 0 && writer.position > maxBytes) {
      writer.position = start;
      break;
    }
    count++;
  }
  closeContainer(writer, list, count, false);
  writePlainField("offset", top.offset);
  writePlainField("epoch", top.epoch);
  writeString(writer, "more");
  writeBoolean(writer, more || count < publications.length);
  return writer.written();
}

function writePlainField(name: string, value: string | number): void {
  writeString(writer, name);
  writePlain(writer, value);
}

/** Bytes are base64 here too, as PROTOCOL.md has it. */
function writeHistoryItem(publication: Publication): void {
  const { bytes, encoding } = publication.payload;
  writer.uint8(0x80 | (1 + restCount(publication)));
  if (encoding === Encoding.binary) {
    put(CONTENT_BASE64);
    writeString(writer, bufferAt(bytes, 0, bytes.length).toString("base64"));
  } else {
    put(CONTENT);
    writePayload(publication.payload);
  }
  writeRest(publication);
}

export const msgpackCodec: Codec = {
  name: "msgpack",
  topicPrefix: "m",
  subprotocol: "starling.v1.msgpack",
  binary: true,
  encoding: Encoding.msgpack,
  decode,
  encode: (message: ServerMessage) => pack(message),
  head,
  encodePublication,
  encodeHistory,
};
