/**
 * Content from one codec's encoding to the other's: once per publication and
 * node, where a channel has subscribers of both. The bytes were checked when
 * they came in (json-scan.ts, msgpack-scan.ts).
 */

import { Packr } from "msgpackr";
import { containerCount, containerHead, isMapByte, isString, skipMsgpack, stringHead } from "./msgpack-scan.js";

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** Packs plain values for frames and transcoding: maps without records. */
export function pack(value: unknown): Buffer {
  return packr.pack(value);
}

export function jsonToMsgpack(bytes: Uint8Array): Buffer {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  return packr.pack(JSON.parse(text));
}

/**
 * Straight from bytes to text: unpacking first would rename a key `__proto__`
 * and round 64-bit integers.
 */
export function msgpackToJson(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return writeValue(buffer, { at: 0 });
}

function writeValue(bytes: Buffer, cursor: { at: number }): string {
  const at = cursor.at;
  const byte = bytes[at]!;
  const count = containerCount(bytes, at, byte);
  if (count === undefined) {
    cursor.at = skipMsgpack(bytes, at);
    return writeScalar(bytes, at, cursor.at, byte);
  }
  cursor.at += containerHead(byte);
  const parts: string[] = [];
  const map = isMapByte(byte);
  for (let i = 0; i < count; i++) {
    const value = writeValue(bytes, cursor);
    parts.push(map ? `${value}:${writeValue(bytes, cursor)}` : value);
  }
  return map ? `{${parts.join(",")}}` : `[${parts.join(",")}]`;
}

function writeScalar(bytes: Buffer, at: number, end: number, byte: number): string {
  if (byte <= 0x7f) return String(byte);
  if (byte >= 0xe0) return String(byte - 0x100);
  if (isString(byte)) return JSON.stringify(bytes.toString("utf8", at + stringHead(byte), end));
  switch (byte) {
    case 0xc2:
      return "false";
    case 0xc3:
      return "true";
    case 0xca:
      return String(bytes.readFloatBE(at + 1));
    case 0xcb:
      return String(bytes.readDoubleBE(at + 1));
    case 0xcf:
      return String(bytes.readBigUInt64BE(at + 1));
    case 0xd3:
      return String(bytes.readBigInt64BE(at + 1));
    case 0xcc:
    case 0xcd:
    case 0xce:
      return String(bytes.readUIntBE(at + 1, end - at - 1));
    case 0xd0:
    case 0xd1:
    case 0xd2:
      return String(bytes.readIntBE(at + 1, end - at - 1));
    default:
      return "null";
  }
}
