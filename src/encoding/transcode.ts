/**
 * Content from one codec's encoding to the other's: once per publication and
 * node, where a channel has subscribers of both. The bytes were checked when
 * they came in (json-scan.ts, msgpack-scan.ts).
 *
 * Both ways go from bytes to bytes. Values in between would lose integers past
 * 2^53, the sign of -0 and keys named `__proto__`. What cannot be kept: a lone
 * surrogate (`"\ud800"`) becomes U+FFFD in MessagePack; a number past float64
 * (`1e400`) becomes Infinity there, as JSON.parse makes of it; an integer past
 * 64 bits becomes the nearest float64.
 */

import { FrameWriter } from "./frame-writer.js";
import {
  DEPTH_MAX,
  KEY,
  skipColon,
  skipSpace,
  skipString,
  skipValue,
  tooDeep,
  unexpected,
} from "./json-scan.js";
import {
  containerCount,
  containerHead,
  isMapByte,
  isString,
  skipMsgpack,
  stringHead,
} from "./msgpack-scan.js";
import {
  closeContainer,
  openContainer,
  writeBoolean,
  writeLongInteger,
  writeNil,
  writeNumber,
  writePlain,
  writeString,
  writeStringHead,
} from "./msgpack-writer.js";
import { textAt } from "./text-cache.js";

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;

const scratch = new FrameWriter();

/** Packs plain values (what JSON can say) for frames. */
export function pack(value: unknown): Buffer {
  scratch.restart(0);
  writePlain(scratch, value);
  return Buffer.from(scratch.written());
}

export function jsonToMsgpack(bytes: Uint8Array): Buffer {
  scratch.restart(0);
  writeJsonAsMsgpack(scratch, bytes);
  return Buffer.from(scratch.written());
}

export function msgpackToJson(bytes: Uint8Array): string {
  scratch.restart(0);
  writeMsgpackAsJson(scratch, bytes);
  return textAt(scratch.written(), 0, scratch.position);
}

/** @throws ScanError unless the bytes are one JSON value */
export function writeJsonAsMsgpack(writer: FrameWriter, bytes: Uint8Array): void {
  const end = skipSpace(bytes, writeFromJson(writer, bytes, skipSpace(bytes, 0), 0));
  if (end !== bytes.length) throw unexpected(bytes, end, "the end");
}

/** @returns the index after the value that starts at `at` */
function writeFromJson(writer: FrameWriter, bytes: Uint8Array, at: number, depth: number): number {
  const byte = bytes[at];
  if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
    if (depth === DEPTH_MAX) throw tooDeep(at);
    return writeJsonContainer(writer, bytes, at, depth + 1);
  }
  const end = skipValue(bytes, at);
  if (byte === QUOTE) writeFromJsonString(writer, bytes, at, end);
  else if (byte === 0x74) writeBoolean(writer, true);
  else if (byte === 0x66) writeBoolean(writer, false);
  else if (byte === 0x6e) writeNil(writer);
  else writeJsonNumber(writer, bytes, at, end);
  return end;
}

function writeJsonContainer(writer: FrameWriter, bytes: Uint8Array, at: number, depth: number): number {
  const map = bytes[at] === OPEN_BRACE;
  const closer = bytes[at]! + 2;
  const head = openContainer(writer);
  let count = 0;
  at = skipSpace(bytes, at + 1);
  if (bytes[at] !== closer) {
    for (;;) {
      count++;
      if (map) {
        if (bytes[at] !== QUOTE) throw unexpected(bytes, at, KEY);
        const keyEnd = skipString(bytes, at);
        writeFromJsonString(writer, bytes, at, keyEnd);
        at = skipColon(bytes, keyEnd);
      }
      at = skipSpace(bytes, writeFromJson(writer, bytes, at, depth));
      if (bytes[at] === closer) break;
      if (bytes[at] !== COMMA) throw unexpected(bytes, at, map ? '"," or "}"' : '"," or "]"');
      at = skipSpace(bytes, at + 1);
    }
  }
  closeContainer(writer, head, count, map);
  return at + 1;
}

function writeFromJsonString(writer: FrameWriter, bytes: Uint8Array, at: number, end: number): void {
  for (let i = at + 1; i < end - 1; i++) {
    if (bytes[i] === BACKSLASH) {
      writeString(writer, JSON.parse(textAt(bytes, at, end)) as string);
      return;
    }
  }
  writeStringHead(writer, end - at - 2);
  writer.copy(bytes, at + 1, end - 1);
}

/** Digits that a double holds exactly whatever they are. */
const EXACT_DIGITS = 15;

function writeJsonNumber(writer: FrameWriter, bytes: Uint8Array, at: number, end: number): void {
  const negative = bytes[at] === 0x2d;
  const first = negative ? at + 1 : at;
  let value = 0;
  for (let i = first; i < end; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) {
      writeNumber(writer, Number(textAt(bytes, at, end)));
      return;
    }
    value = value * 10 + digit;
  }
  if (end - first <= EXACT_DIGITS) writeNumber(writer, negative ? -value : value);
  // 2^64 has 20 digits. BigInt of a long text takes time that grows with its square.
  else if (end - first > 20) writeNumber(writer, Number(textAt(bytes, at, end)));
  else writeLongInteger(writer, BigInt(textAt(bytes, at, end)));
}

/** Content that is binary has no JSON form: not for that. */
export function writeMsgpackAsJson(writer: FrameWriter, bytes: Uint8Array): void {
  writeFromMsgpack(writer, bytes, 0, 0);
}

function writeFromMsgpack(writer: FrameWriter, bytes: Uint8Array, at: number, depth: number): number {
  const byte = bytes[at]!;
  const count = containerCount(bytes, at, byte);
  if (count === undefined) {
    const end = skipMsgpack(bytes, at);
    writeScalar(writer, bytes, at, end, byte);
    return end;
  }
  if (depth === DEPTH_MAX) throw tooDeep(at);
  const map = isMapByte(byte);
  at += containerHead(byte);
  writer.uint8(map ? OPEN_BRACE : OPEN_BRACKET);
  for (let i = 0; i < count; i++) {
    if (i > 0) writer.uint8(COMMA);
    if (map) {
      at = writeFromMsgpack(writer, bytes, at, depth + 1);
      writer.uint8(0x3a);
    }
    at = writeFromMsgpack(writer, bytes, at, depth + 1);
  }
  writer.uint8((map ? OPEN_BRACE : OPEN_BRACKET) + 2);
  return at;
}

function writeScalar(writer: FrameWriter, bytes: Uint8Array, at: number, end: number, byte: number): void {
  if (isString(byte)) writeJsonString(writer, bytes, at + stringHead(byte), end);
  else writer.ascii(scalarText(bytes, at, byte));
}

/** Text in quotes: its bytes as they are, unless JSON escapes one of them. */
export function writeJsonString(writer: FrameWriter, bytes: Uint8Array, start: number, end: number): void {
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte < 0x20 || byte === QUOTE || byte === BACKSLASH) {
      writer.utf8(JSON.stringify(textAt(bytes, start, end)));
      return;
    }
  }
  writer.uint8(QUOTE);
  writer.copy(bytes, start, end);
  writer.uint8(QUOTE);
}

function scalarText(bytes: Uint8Array, at: number, byte: number): string {
  if (byte <= 0x7f) return String(byte);
  if (byte >= 0xe0) return String(byte - 0x100);
  const view = new DataView(bytes.buffer, bytes.byteOffset + at + 1);
  switch (byte) {
    case 0xc2:
      return "false";
    case 0xc3:
      return "true";
    case 0xca:
      return floatText(view.getFloat32(0));
    case 0xcb:
      return floatText(view.getFloat64(0));
    case 0xcc:
      return String(view.getUint8(0));
    case 0xcd:
      return String(view.getUint16(0));
    case 0xce:
      return String(view.getUint32(0));
    case 0xcf:
      return String(view.getBigUint64(0));
    case 0xd0:
      return String(view.getInt8(0));
    case 0xd1:
      return String(view.getInt16(0));
    case 0xd2:
      return String(view.getInt32(0));
    case 0xd3:
      return String(view.getBigInt64(0));
    default:
      return "null";
  }
}

function floatText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}
