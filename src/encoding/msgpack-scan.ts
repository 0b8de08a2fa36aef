/**
 * Checks MessagePack where it lies and finds where each value ends. A declared
 * length is believed only as far as the frame reaches: nothing is allocated for
 * it. Content is what JSON can say (so no extensions, NaN or keys that are not
 * strings), or, at the top, one binary.
 */

import { isUtf8 } from "node:buffer";
import { DEPTH_MAX, ScanError, tooDeep } from "./json-scan.js";

/** Elements that each open array or map still waits for; a map counts keys and values. Reused. */
const remaining = new Float64Array(DEPTH_MAX + 1);
/** 1: a map, whose elements are keys and values in turn. */
const isMap = new Uint8Array(DEPTH_MAX + 1);

/** @returns the index after the value that starts at `at` */
export function skipMsgpack(bytes: Uint8Array, at: number): number {
  let depth = 0;
  for (;;) {
    const byte = byteAt(bytes, at);
    const key = depth > 0 && isMap[depth] === 1 && remaining[depth]! % 2 === 0;
    if (key && !isString(byte)) throw notAKey(byte, at);
    const count = containerCount(bytes, at, byte);
    if (count === undefined) {
      at = skipScalar(bytes, at, byte);
      if (depth > 0) remaining[depth]!--;
    } else {
      if (depth === DEPTH_MAX) throw tooDeep(at);
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
export function openMap(bytes: Uint8Array, at: number): { entries: number; at: number } {
  const byte = byteAt(bytes, at);
  const entries = isMapByte(byte) ? containerCount(bytes, at, byte) : undefined;
  if (entries === undefined) {
    const hint = byte === 0x7b ? "if this is JSON, its subprotocol is starling.v1.json" : undefined;
    throw new ScanError(`expected a map, found ${typeName(byte)}`, at, hint);
  }
  return { entries, at: at + containerHead(byte) };
}

/** Where the characters of the string at `at` start. @throws ScanError if there is no string */
export function stringStart(bytes: Uint8Array, at: number): number {
  const byte = byteAt(bytes, at);
  if (!isString(byte)) throw notAKey(byte, at);
  return at + stringHead(byte);
}

export function isBinary(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0xc4 && byte <= 0xc6;
}

/** The bytes between the head of the binary at `at` and `end`. */
export function binaryBody(bytes: Uint8Array, at: number, end: number): Uint8Array {
  return bytes.subarray(at + 1 + (1 << (bytes[at]! - 0xc4)), end);
}

/** @returns the index after the binary at `at` */
export function skipBinary(bytes: Uint8Array, at: number): number {
  const head = 1 + (1 << (bytes[at]! - 0xc4));
  return bounded(bytes, at, head + lengthAt(bytes, at + 1, head - 1));
}

export function isString(byte: number): boolean {
  return (byte >= 0xa0 && byte <= 0xbf) || (byte >= 0xd9 && byte <= 0xdb);
}

export function isMapByte(byte: number): boolean {
  return (byte >= 0x80 && byte <= 0x8f) || byte === 0xde || byte === 0xdf;
}

/**
 * Entries of the array or map whose head is at `at`; undefined for anything else.
 * @throws ScanError where the bytes that are left cannot hold so many
 */
export function containerCount(bytes: Uint8Array, at: number, byte: number): number | undefined {
  if (byte < 0x80) return undefined;
  let count: number;
  if (byte <= 0x9f) count = byte & 0x0f;
  else if (byte === 0xdc || byte === 0xde) count = lengthAt(bytes, at + 1, 2);
  else if (byte === 0xdd || byte === 0xdf) count = lengthAt(bytes, at + 1, 4);
  else return undefined;
  const left = bytes.length - at - containerHead(byte);
  if (count * (isMapByte(byte) ? 2 : 1) > left) {
    throw new ScanError(`${typeName(byte)} of ${count} does not fit in the ${left} bytes that are left`, at);
  }
  return count;
}

export function containerHead(byte: number): number {
  if (byte <= 0x9f) return 1;
  return byte === 0xdc || byte === 0xde ? 3 : 5;
}

export function stringHead(byte: number): number {
  return byte <= 0xbf ? 1 : 1 + (1 << (byte - 0xd9));
}

/**
 * Passes over a value by its lengths alone: what nobody reads need not be right, only end where it says.
 * @returns the index after the value that starts at `at`
 */
export function passOver(bytes: Uint8Array, at: number): number {
  for (let pending = 1; pending > 0; pending--) {
    const byte = byteAt(bytes, at);
    // The commonest first: most of what is in an envelope is heard by nobody here.
    if (byte >= 0xa0 && byte <= 0xbf) {
      at += 1 + (byte & 0x1f);
    } else if (byte === 0xc0 || byte <= 0x7f) {
      at++;
    } else if (isBinary(byte)) {
      at += sized(bytes, at, 1 << (byte - 0xc4));
    } else {
      const count = containerCount(bytes, at, byte);
      if (count === undefined) at += lengthOf(bytes, at, byte);
      else {
        pending += isMapByte(byte) ? count * 2 : count;
        at += containerHead(byte);
      }
    }
  }
  return bounded(bytes, at, 0);
}

/** Of a value that holds no others, with its head. */
function lengthOf(bytes: Uint8Array, at: number, byte: number): number {
  if (byte >= 0xe0 || byte <= 0xc3) return 1;
  if (isString(byte)) return stringHead(byte) + lengthAt(bytes, at + 1, stringHead(byte) - 1);
  // Extensions, which have a type.
  if (byte <= 0xc9) return sized(bytes, at, 1 << (byte - 0xc7)) + 1;
  if (byte <= 0xcb) return byte === 0xca ? 5 : 9;
  if (byte <= 0xd3) return 1 + (1 << ((byte - 0xcc) & 3));
  return 2 + (1 << (byte - 0xd4));
}

function sized(bytes: Uint8Array, at: number, width: number): number {
  return 1 + width + lengthAt(bytes, at + 1, width);
}

function skipScalar(bytes: Uint8Array, at: number, byte: number): number {
  if (byte <= 0x7f || byte >= 0xe0) return at + 1;
  if (isString(byte)) return skipString(bytes, at, byte);
  switch (byte) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return at + 1;
    case 0xca: {
      const end = bounded(bytes, at, 5);
      // All exponent bits set.
      if ((bytes[at + 1]! & 0x7f) === 0x7f && bytes[at + 2]! >= 0x80) throw notFinite(at);
      return end;
    }
    case 0xcb: {
      const end = bounded(bytes, at, 9);
      if ((bytes[at + 1]! & 0x7f) === 0x7f && bytes[at + 2]! >= 0xf0) throw notFinite(at);
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
      throw new ScanError("binary inside other content", at, "only content itself may be binary");
    default:
      throw new ScanError(
        `${typeName(byte)} has no JSON form`,
        at,
        byte === 0xc1 ? undefined : "give times as a number or a string",
      );
  }
}

/** Past this one native call (50 ns) is quicker than a loop over ASCII (measured: 10 ns for 16 bytes, 61 for 32). */
const LOOP_BYTES_MAX = 24;

function skipString(bytes: Uint8Array, at: number, byte: number): number {
  const head = stringHead(byte);
  const length = byte <= 0xbf ? byte & 0x1f : lengthAt(bytes, at + 1, head - 1);
  const end = bounded(bytes, at, head + length);
  let i = at + head;
  if (length <= LOOP_BYTES_MAX) while (i < end && bytes[i]! < 0x80) i++;
  if (i < end && !isUtf8(bytes.subarray(i, end))) throw new ScanError("a string that is not UTF-8", at);
  return end;
}

function notFinite(at: number): ScanError {
  return new ScanError("NaN or Infinity has no JSON form", at);
}

function notAKey(byte: number, at: number): ScanError {
  return new ScanError(`expected a string as key, found ${typeName(byte)}`, at);
}

function typeName(byte: number): string {
  if (byte <= 0x7f || byte >= 0xe0 || (byte >= 0xca && byte <= 0xd3)) return "a number";
  if (isString(byte)) return "a string";
  if (isMapByte(byte)) return "a map";
  if (byte <= 0x9f || byte === 0xdc || byte === 0xdd) return "an array";
  if (isBinary(byte)) return "binary";
  if (byte === 0xc0) return "nil";
  if (byte === 0xc1) return "0xc1, which MessagePack never uses,";
  if (byte <= 0xc3) return "a boolean";
  return `an extension (0x${byte.toString(16)})`;
}

/** The whole number from 0 up that is written as one at `at`; from 2^53 on it is near only. undefined: there is another value. */
export function unsignedAt(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
  const byte = byteAt(bytes, at);
  if (byte <= 0x7f) return { value: byte, end: at + 1 };
  if (byte < 0xcc || byte > 0xcf) return undefined;
  const width = 1 << (byte - 0xcc);
  return { value: lengthAt(bytes, at + 1, width), end: at + 1 + width };
}

function lengthAt(bytes: Uint8Array, at: number, width: number): number {
  bounded(bytes, at, width);
  let length = 0;
  for (let i = at; i < at + width; i++) length = length * 256 + bytes[i]!;
  return length;
}

function bounded(bytes: Uint8Array, at: number, length: number): number {
  if (at + length > bytes.length) {
    throw new ScanError(`the value reaches past the end of the frame (${bytes.length} bytes)`, at);
  }
  return at + length;
}

function byteAt(bytes: Uint8Array, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new ScanError("expected a value, found the end", at);
  return byte;
}
