/** The native protocol as MessagePack binary frames: subprotocol starling.v1.msgpack. */

import { unpack } from "msgpackr";
import type { Codec } from "./codec.js";
import { Field, FIELD_COUNT, actionAt, fieldAt, readCommand, type FieldReader } from "./command-fields.js";
import { StarlingError } from "./errors.js";
import { FrameWriter } from "./frame-writer.js";
import { ScanError } from "./json-scan.js";
import { binaryBody, isBinary, openMap, skipBinary, skipMsgpack, stringStart } from "./msgpack-scan.js";
import { Encoding, type Command, type Payload, type Publication, type ServerMessage } from "./messages.js";
import { jsonToMsgpack, pack } from "./transcode.js";

/** Where each field's value lies in the frame being read; 0 where it has none. Reused per frame. */
const starts = new Int32Array(FIELD_COUNT);
const ends = new Int32Array(FIELD_COUNT);

function findFields(frame: Buffer): void {
  starts.fill(0);
  const map = openMap(frame, 0);
  let at = map.at;
  for (let entry = 0; entry < map.entries; entry++) {
    const keyStart = stringStart(frame, at);
    const start = skipMsgpack(frame, at);
    const field = fieldAt(frame, keyStart, start);
    at =
      field === Field.content && isBinary(frame[start]) ? skipBinary(frame, start) : skipMsgpack(frame, start);
    if (field !== -1) {
      starts[field] = start;
      ends[field] = at;
    }
  }
  if (at !== frame.length) throw new ScanError("more bytes than one map", at);
}

class MsgpackFields implements FieldReader {
  frame: Buffer = Buffer.alloc(0);

  value(field: number): unknown {
    const start = starts[field]!;
    if (start === 0) return undefined;
    const value: unknown = unpack(this.frame.subarray(start, ends[field]));
    return typeof value === "bigint" ? Number(value) : value;
  }

  action(): unknown {
    const start = starts[Field.action]!;
    if (start === 0) return undefined;
    // A short string has one byte of head: all known actions are short.
    return actionAt(this.frame, start + 1, ends[Field.action]!) ?? this.value(Field.action);
  }

  payload(): Payload | undefined {
    const start = starts[Field.content]!;
    if (start === 0) return undefined;
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
  const buffer = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
  try {
    findFields(buffer);
  } catch (error) {
    if (error instanceof ScanError) {
      throw new StarlingError("bad_frame", `not a MessagePack map: ${error.message}`);
    }
    throw error;
  }
  fields.frame = buffer;
  return readCommand(fields);
}

function writeString(text: string): void {
  const length = Buffer.byteLength(text);
  if (length < 32) writer.uint8(0xa0 | length);
  else if (length < 256) {
    writer.uint8(0xd9);
    writer.uint8(length);
  } else {
    writer.uint8(0xda);
    writer.uint16(length);
  }
  writer.utf8(text);
}

function writeBinary(bytes: Uint8Array): void {
  if (bytes.length < 256) {
    writer.uint8(0xc4);
    writer.uint8(bytes.length);
  } else if (bytes.length < 65_536) {
    writer.uint8(0xc5);
    writer.uint16(bytes.length);
  } else {
    writer.uint8(0xc6);
    writer.uint32(bytes.length);
  }
  writer.bytes(bytes);
}

function encodePublication(publication: Publication): Uint8Array {
  const { channel, payload, from, event, tags, position } = publication;
  writer.restart(0);
  const fieldCount =
    3 +
    (from === undefined ? 0 : 1) +
    (event === undefined ? 0 : 1) +
    (tags === undefined ? 0 : 1) +
    (position === undefined ? 0 : 2);
  writer.uint8(0x80 | fieldCount);
  writeString("type");
  writeString("message");
  writeString("channel");
  writeString(channel);
  writeString("content");
  if (payload.encoding === Encoding.msgpack) writer.bytes(payload.bytes);
  else if (payload.encoding === Encoding.json) writer.bytes(jsonToMsgpack(payload.bytes));
  else writeBinary(payload.bytes);
  if (from !== undefined) {
    writeString("from");
    writer.uint8(from.user === undefined ? 0x81 : 0x82);
    writeString("connection");
    writeString(from.connection);
    if (from.user !== undefined) {
      writeString("user");
      writeString(from.user);
    }
  }
  if (event !== undefined) {
    writeString("event");
    writeString(event);
  }
  if (tags !== undefined) {
    writeString("tags");
    writer.bytes(pack(tags));
  }
  if (position !== undefined) {
    writeString("offset");
    writer.bytes(pack(position.offset));
    writeString("epoch");
    writeString(position.epoch);
  }
  return writer.written();
}

export const msgpackCodec: Codec = {
  name: "msgpack",
  topicPrefix: "m",
  subprotocol: "starling.v1.msgpack",
  binary: true,
  encoding: Encoding.msgpack,
  decode,
  // Fields that are undefined are left out, as JSON does; msgpackr would write an extension.
  encode: (message: ServerMessage) => pack(JSON.parse(JSON.stringify(message))),
  encodePublication,
};
