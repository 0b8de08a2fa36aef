/** The native protocol as JSON text frames: subprotocol starling.v1.json, and the lesson's own. */

import type { Codec } from "./codec.js";
import { Field, FIELD_COUNT, actionAt, fieldAt, readCommand, type FieldReader } from "./command-fields.js";
import { StarlingError } from "./errors.js";
import { FrameWriter } from "./frame-writer.js";
import { ScanError, skipColon, skipSpace, skipString, skipValue, unexpected } from "./json-scan.js";
import { Encoding, type Command, type Payload, type Publication, type ServerMessage } from "./messages.js";
import { msgpackToJson } from "./transcode.js";

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Where each field's value lies in the frame being read; 0 where it has none. Reused per frame. */
const starts = new Int32Array(FIELD_COUNT);
const ends = new Int32Array(FIELD_COUNT);

/** @throws ScanError unless the frame is one JSON object; the last of equal keys counts, as in JSON.parse */
function findFields(frame: Uint8Array): void {
  starts.fill(0);
  let at = skipSpace(frame, 0);
  if (frame[at] !== OPEN_BRACE) throw unexpected(frame, at, "an object");
  at = skipSpace(frame, at + 1);
  if (frame[at] === CLOSE_BRACE) {
    at++;
  } else {
    for (;;) {
      if (frame[at] !== QUOTE) throw unexpected(frame, at, "a key in quotes");
      const keyEnd = skipString(frame, at);
      const field = fieldAt(frame, at + 1, keyEnd - 1);
      const start = skipColon(frame, keyEnd);
      const end = skipValue(frame, start);
      if (field !== -1) {
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

class JsonFields implements FieldReader {
  frame: Buffer = Buffer.alloc(0);

  value(field: number): unknown {
    const start = starts[field]!;
    if (start === 0) return undefined;
    const text = this.frame.toString("utf8", start, ends[field]);
    if (text.charCodeAt(0) === QUOTE && !text.includes("\\")) return text.slice(1, -1);
    return JSON.parse(text);
  }

  action(): unknown {
    const start = starts[Field.action]!;
    if (start === 0) return undefined;
    return actionAt(this.frame, start + 1, ends[Field.action]! - 1) ?? this.value(Field.action);
  }

  payload(): Payload | undefined {
    const start = starts[Field.content]!;
    if (start === 0) return undefined;
    return { bytes: this.frame.subarray(start, ends[Field.content]), encoding: Encoding.json };
  }
}

const fields = new JsonFields();
const writer = new FrameWriter();
/** The channel whose head still stands at the writer's start, and where that head ends. */
let headChannel: string | undefined;
let headEnd = 0;

function decode(frame: Uint8Array): Command {
  try {
    findFields(frame);
  } catch (error) {
    if (error instanceof ScanError) throw new StarlingError("bad_frame", `not a JSON object: ${error.message}`);
    throw error;
  }
  fields.frame = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
  return readCommand(fields);
}

function encodePublication(publication: Publication): Uint8Array {
  const { channel, payload, from, event, tags, position } = publication;
  if (channel === headChannel) {
    writer.restart(headEnd);
  } else {
    writer.restart(0);
    // The channel grammar admits nothing that JSON escapes.
    writer.ascii(`{"type":"message","channel":"${channel}",`);
    headChannel = channel;
    headEnd = writer.position;
  }
  if (payload.encoding === Encoding.json) {
    writer.ascii('"content":');
    writer.bytes(payload.bytes);
  } else if (payload.encoding === Encoding.msgpack) {
    writer.utf8(`"content":${msgpackToJson(payload.bytes)}`);
  } else {
    const { buffer, byteOffset, length } = payload.bytes;
    writer.ascii(`"contentBase64":"${Buffer.from(buffer, byteOffset, length).toString("base64")}"`);
  }
  if (from !== undefined) {
    writer.utf8(
      from.user === undefined
        ? `,"from":{"connection":"${from.connection}"}`
        : `,"from":{"connection":"${from.connection}","user":${JSON.stringify(from.user)}}`,
    );
  }
  if (event !== undefined) writer.utf8(`,"event":${JSON.stringify(event)}`);
  if (tags !== undefined) writer.utf8(`,"tags":${JSON.stringify(tags)}`);
  if (position !== undefined) {
    writer.utf8(`,"offset":${position.offset},"epoch":${JSON.stringify(position.epoch)}`);
  }
  writer.ascii("}");
  return writer.written();
}

export const jsonCodec: Codec = {
  name: "json",
  topicPrefix: "j",
  subprotocol: "starling.v1.json",
  binary: false,
  encoding: Encoding.json,
  decode,
  encode: (message: ServerMessage) => Buffer.from(JSON.stringify(message)),
  encodePublication,
};
