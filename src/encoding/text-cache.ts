/**
 * Short text out of frames. The same channel names come in over and over: a
 * hit costs a comparison (11 ns for a short name, where decoding takes 100), and
 * hands out the string whose hash is known already.
 */

import { unitAt } from "./unit-at.js";

const SLOTS = 4_096;
/** Longer texts are not kept: at most SLOTS times this many characters stay in memory. */
const KEPT_BYTES_MAX = 64;

/** By hash; a clash replaces what was there, so that hostile names cost no more than a miss. */
const kept: string[] = new Array<string>(SLOTS).fill("");

/** The UTF-8 text between the two indexes. Not for secrets: short texts stay in memory. */
export function shortTextAt(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start;
  if (length > KEPT_BYTES_MAX) return textAt(bytes, start, end);
  let hash = length;
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
  const slot = (hash ^ (hash >>> 9)) & (SLOTS - 1);
  const known = kept[slot]!;
  if (known.length === length && isAt(known, length, bytes, start)) return known;
  const text = textAt(bytes, start, end);
  kept[slot] = text;
  return text;
}

/** Whether the bytes are this text; never true for text beyond ASCII, as UTF-8 bytes are not its units. */
function isAt(text: string, length: number, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < length; i++) {
    const byte = bytes[start + i]!;
    if (byte >= 0x80 || unitAt(text, i) !== byte) return false;
  }
  return true;
}

/** The UTF-8 text between the two indexes. */
export function textAt(bytes: Uint8Array, start: number, end: number): string {
  return bufferAt(bytes, start, end).toString("utf8");
}

/** A view, no copy. */
export function bufferAt(bytes: Uint8Array, start: number, end: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
}
