/**
 * Checks MessagePack where it lies and finds where each value ends. A declared
 * length is believed only as far as the frame reaches: nothing is allocated for
 * it. Content is what JSON can say (so no extensions, NaN or keys that are not
 * strings), or, at the top, one binary.
 */

import { isUtf8 } from "node:buffer";
import { DEPTH_MAX, ScanError } from "./json-scan.js";

/** Elements that each open array or map still waits for; a map counts keys and values. Reused. */
const remaining = new Float64Array(DEPTH_MAX + 1);
/** 1: a map, whose elements are keys and values in turn. */
const isMap = new Uint8Array(DEPTH_MAX + 1);

/** @returns the index after the value that starts at `at` */
export function skipMsgpack(bytes: Buffer, at: number): number {
  let depth = 0;
  for (;;) {
    const byte = byteAt(bytes, at);
    const key = depth > 0 && isMap[depth] === 1 && remaining[depth]! % 2 === 0;
    if (key && !isString(byte)) throw new ScanError("a key that is not a string", at);
    const count = containerCount(bytes, at, byte);
    if (count === undefined) {
      at = skipScalar(bytes, at, byte);
      if (depth > 0) remaining[depth]!--;
    } else {
      if (depth === DEPTH_MAX) throw new ScanError(`nesting deeper than ${DEPTH_MAX}`, at);
      // A container is one element of the one around it.
      if (depth > 0) remaining[depth]!--;
      depth++;
      isMap[depth] = isMapByte(byte) ? 1 : 0;
      remaining[depth] = isMapByte(byte) ? count * 2 : count;
      at += containerHead(byte);
    }
    while (depth > 0 && remaining[depth] === 0) depth--;
    if (depth === 0) return at;
  }
}

/** @returns the number of entries and the index of the first key of the map at `at` */
export function openMap(bytes: Buffer, at: number): { entries: number; at: number } {
  const byte = byteAt(bytes, at);
  const entries = isMapByte(byte) ? containerCount(bytes, at, byte) : undefined;
  if (entries === undefined) throw new ScanError("expected a map", at);
  return { entries, at: at + containerHead(byte) };
}

/** Where the characters of the string at `at` start. @throws ScanError if there is no string */
export function stringStart(bytes: Buffer, at: number): number {
  const byte = byteAt(bytes, at);
  if (!isString(byte)) throw new ScanError("a key that is not a string", at);
  return at + stringHead(byte);
}

export function isBinary(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0xc4 && byte <= 0xc6;
}

/** The bytes between the head of the binary at `at` and `end`. */
export function binaryBody(bytes: Buffer, at: number, end: number): Buffer {
  return bytes.subarray(at + 1 + (1 << (bytes[at]! - 0xc4)), end);
}

/** @returns the index after the binary at `at` */
export function skipBinary(bytes: Buffer, at: number): number {
  const head = 1 + (1 << (bytes[at]! - 0xc4));
  return bounded(bytes, at, head + lengthAt(bytes, at + 1, head - 1));
}

export function isString(byte: number): boolean {
  return (byte >= 0xa0 && byte <= 0xbf) || (byte >= 0xd9 && byte <= 0xdb);
}

export function isMapByte(byte: number): boolean {
  return (byte >= 0x80 && byte <= 0x8f) || byte === 0xde || byte === 0xdf;
}

/** Entries of the array or map whose head is at `at`; undefined for anything else. */
export function containerCount(bytes: Buffer, at: number, byte: number): number | undefined {
  if (byte >= 0x80 && byte <= 0x9f) return byte & 0x0f;
  if (byte === 0xdc || byte === 0xde) return lengthAt(bytes, at + 1, 2);
  if (byte === 0xdd || byte === 0xdf) return lengthAt(bytes, at + 1, 4);
  return undefined;
}

export function containerHead(byte: number): number {
  if (byte <= 0x9f) return 1;
  return byte === 0xdc || byte === 0xde ? 3 : 5;
}

export function stringHead(byte: number): number {
  return byte <= 0xbf ? 1 : 1 + (1 << (byte - 0xd9));
}

function skipScalar(bytes: Buffer, at: number, byte: number): number {
  if (byte <= 0x7f || byte >= 0xe0) return at + 1;
  if (isString(byte)) return skipString(bytes, at, byte);
  switch (byte) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return at + 1;
    case 0xca:
    case 0xcb: {
      const end = bounded(bytes, at, byte === 0xca ? 5 : 9);
      const value = byte === 0xca ? bytes.readFloatBE(at + 1) : bytes.readDoubleBE(at + 1);
      if (!Number.isFinite(value)) throw new ScanError(`${value} has no JSON form`, at);
      return end;
    }
    case 0xcc: // uint 8 to 64
    case 0xcd:
    case 0xce:
    case 0xcf:
      return bounded(bytes, at, 1 + (1 << (byte - 0xcc)));
    case 0xd0: // int 8 to 64
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return bounded(bytes, at, 1 + (1 << (byte - 0xd0)));
    case 0xc4:
    case 0xc5:
    case 0xc6:
      throw new ScanError("binary inside other content (only content itself may be binary)", at);
    default:
      throw new ScanError(`type 0x${byte.toString(16)} has no JSON form`, at);
  }
}

function skipString(bytes: Buffer, at: number, byte: number): number {
  const head = stringHead(byte);
  const length = byte <= 0xbf ? byte & 0x1f : lengthAt(bytes, at + 1, head - 1);
  const end = bounded(bytes, at, head + length);
  for (let i = at + head; i < end; i++) {
    if (bytes[i]! < 0x80) continue;
    if (isUtf8(bytes.subarray(i, end))) break;
    throw new ScanError("a string that is not UTF-8", at);
  }
  return end;
}

function lengthAt(bytes: Buffer, at: number, width: number): number {
  bounded(bytes, at, width);
  return bytes.readUIntBE(at, width);
}

function bounded(bytes: Buffer, at: number, length: number): number {
  if (at + length > bytes.length) {
    throw new ScanError(`the value at byte ${at} reaches past the end`, bytes.length);
  }
  return at + length;
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new ScanError("the end, expected a value", at);
  return byte;
}
