/**
 * Writes MessagePack, each value in its shortest form. Whole numbers stay
 * integers up to 64 bits: Go and Rust clients refuse a float where they read an
 * integer, and a timestamp in milliseconds is past 32 bits.
 */

import type { FrameWriter } from "./frame-writer.js";

const TWO_32 = 0x1_0000_0000;
const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

export function writeNil(writer: FrameWriter): void {
  writer.uint8(0xc0);
}

export function writeBoolean(writer: FrameWriter, value: boolean): void {
  writer.uint8(value ? 0xc3 : 0xc2);
}

/** What JavaScript holds: an integer where it is one and safe, else a float64 (-0 too). */
export function writeNumber(writer: FrameWriter, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    writer.uint8(0xcb);
    writer.float64(value);
  } else if (value >= 0) writeUnsigned(writer, value);
  else writeNegative(writer, value);
}

function writeUnsigned(writer: FrameWriter, value: number): void {
  if (value < 0x80) writer.uint8(value);
  else if (value < 0x100) {
    writer.uint8(0xcc);
    writer.uint8(value);
  } else if (value < 0x1_0000) {
    writer.uint8(0xcd);
    writer.uint16(value);
  } else if (value < TWO_32) {
    writer.uint8(0xce);
    writer.uint32(value);
  } else write64(writer, 0xcf, Math.floor(value / TWO_32), value);
}

function writeNegative(writer: FrameWriter, value: number): void {
  if (value >= -0x20) writer.uint8(value & 0xff);
  else if (value >= -0x80) {
    writer.uint8(0xd0);
    writer.uint8(value & 0xff);
  } else if (value >= -0x8000) {
    writer.uint8(0xd1);
    writer.uint16(value & 0xffff);
  } else if (value >= -0x8000_0000) {
    writer.uint8(0xd2);
    writer.uint32(value >>> 0);
  } else write64(writer, 0xd3, Math.floor(value / TWO_32), value);
}

function write64(writer: FrameWriter, type: number, high: number, value: number): void {
  writer.uint8(type);
  writer.uint32(high >>> 0);
  writer.uint32(value >>> 0);
}

/** An integer too long to be a safe JavaScript number; past 64 bits it becomes the nearest float64. */
export function writeLongInteger(writer: FrameWriter, value: bigint): void {
  const fits = value >= INT64_MIN && value <= UINT64_MAX;
  const number = Number(value);
  if (!fits || Number.isSafeInteger(number)) {
    writeNumber(writer, number);
    return;
  }
  const bits = BigInt.asUintN(64, value);
  writer.uint8(value < 0n ? 0xd3 : 0xcf);
  writer.uint32(Number(bits >> 32n));
  writer.uint32(Number(bits & 0xffff_ffffn));
}

export function writeStringHead(writer: FrameWriter, bytes: number): void {
  if (bytes < 32) writer.uint8(0xa0 | bytes);
  else if (bytes < 0x100) {
    writer.uint8(0xd9);
    writer.uint8(bytes);
  } else if (bytes < 0x1_0000) {
    writer.uint8(0xda);
    writer.uint16(bytes);
  } else {
    writer.uint8(0xdb);
    writer.uint32(bytes);
  }
}

/** A lone surrogate becomes U+FFFD: UTF-8 has no other way. */
export function writeString(writer: FrameWriter, text: string): void {
  if (text.length < 32) {
    const headAt = writer.position;
    writer.uint8(0xa0 | text.length);
    if (writer.shortAscii(text)) return;
    writer.position = headAt;
  }
  writeStringHead(writer, Buffer.byteLength(text));
  writer.utf8(text);
}

export function writeBinary(writer: FrameWriter, bytes: Uint8Array): void {
  if (bytes.length < 0x100) {
    writer.uint8(0xc4);
    writer.uint8(bytes.length);
  } else if (bytes.length < 0x1_0000) {
    writer.uint8(0xc5);
    writer.uint16(bytes.length);
  } else {
    writer.uint8(0xc6);
    writer.uint32(bytes.length);
  }
  writer.bytes(bytes);
}

export function writeArrayHead(writer: FrameWriter, count: number): void {
  if (count < 16) writer.uint8(0x90 | count);
  else if (count < 0x1_0000) {
    writer.uint8(0xdc);
    writer.uint16(count);
  } else {
    writer.uint8(0xdd);
    writer.uint32(count);
  }
}

/** As a float, which holds every number that JavaScript does: readers of 64-bit integers may answer bigints. */
export function writeFloat(writer: FrameWriter, value: number): void {
  writer.uint8(0xcb);
  writer.float64(value);
}

/** Leaves room for the head of an array or map whose count is not known yet. @returns where */
export function openContainer(writer: FrameWriter): number {
  writer.uint8(0);
  return writer.position - 1;
}

/** @param count entries of a map, elements of an array */
export function closeContainer(writer: FrameWriter, headAt: number, count: number, map: boolean): void {
  if (count < 16) writer.replaceByte(headAt, [(map ? 0x80 : 0x90) | count]);
  else if (count < 0x1_0000) writer.replaceByte(headAt, [map ? 0xde : 0xdc, count >>> 8, count & 0xff]);
  else {
    const type = map ? 0xdf : 0xdd;
    writer.replaceByte(headAt, [
      type,
      count >>> 24,
      (count >>> 16) & 0xff,
      (count >>> 8) & 0xff,
      count & 0xff,
    ]);
  }
}

/** A plain value as JSON.stringify would take it: undefined fields are left out, NaN is nil. */
export function writePlain(writer: FrameWriter, value: unknown): void {
  if (typeof value === "string") writeString(writer, value);
  else if (typeof value === "number") {
    if (Number.isFinite(value)) writeNumber(writer, value);
    else writeNil(writer);
  } else if (typeof value === "boolean") writeBoolean(writer, value);
  else if (value === null || value === undefined) writeNil(writer);
  else if (Array.isArray(value)) {
    const head = openContainer(writer);
    for (const element of value) writePlain(writer, element);
    closeContainer(writer, head, value.length, false);
  } else if (typeof value === "object") writeFields(writer, value);
  else throw new TypeError(`a ${typeof value} cannot be packed`);
}

function writeFields(writer: FrameWriter, value: object): void {
  const head = openContainer(writer);
  let count = 0;
  for (const [key, field] of Object.entries(value)) {
    if (field === undefined) continue;
    count++;
    writeString(writer, key);
    writePlain(writer, field);
  }
  closeContainer(writer, head, count, true);
}
