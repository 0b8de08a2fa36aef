/** MessagePack as nodes exchange it: one packer, and a reader that believes no length it has not checked. */

import { Packr } from "msgpackr";

import { FrameWriter } from "../../encoding/frame-writer.js";
import { ScanError } from "../../encoding/json-scan.js";
import {
  containerCount,
  containerHead,
  isBinary,
  isMapByte,
  skipBinary,
  skipMsgpack,
} from "../../encoding/msgpack-scan.js";
import { writeArrayHead, writeNumber } from "../../encoding/msgpack-writer.js";

/** The largest message that a node sends to another or reads from one. */
export const BUS_MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/** Integers past what numbers count are read as the nearest: whoever takes one checks that it is safe. */
const packr = new Packr({ useRecords: false, int64AsType: "number" });

/** The result is the caller's: later calls do not reuse its bytes. */
export function packMessage(value: unknown): Buffer {
  return packr.pack(value);
}

const numberWriter = new FrameWriter();

/** As packMessage, but written without msgpackr, in a third of the time: each batch with history has such lists. */
export function packNumbers(...lists: readonly (readonly number[])[]): Buffer {
  numberWriter.restart(0);
  writeArrayHead(numberWriter, lists.length);
  for (const list of lists) {
    writeArrayHead(numberWriter, list.length);
    for (let i = 0; i < list.length; i++) writeNumber(numberWriter, list[i]!);
  }
  return Buffer.from(numberWriter.written());
}

/**
 * Binary values are views into `bytes`.
 * @throws Error if it is too large, no MessagePack, or holds an extension type
 */
export function unpackMessage(bytes: Buffer): unknown {
  const { value, end } = unpackPart(bytes, 0);
  if (end < bytes.length) throw new ScanError("more bytes than one value", end);
  return value;
}

/** @throws ScanError */
export function checkSize({ length }: Buffer): void {
  if (length > BUS_MESSAGE_BYTES_MAX) {
    throw new ScanError(`${length} bytes are more than ${BUS_MESSAGE_BYTES_MAX}, found`, 0);
  }
}

/** As unpackMessage, for the value that begins at `at` and ends before `end`. */
export function unpackPart(bytes: Buffer, at: number): { readonly value: unknown; readonly end: number } {
  checkSize(bytes);
  const end = skipPlain(bytes, at);
  try {
    return { value: packr.unpack(bytes.subarray(at, end)), end };
  } catch (error) {
    // msgpackr reads by recursion, and no map whose keys are maps.
    throw new ScanError(
      error instanceof RangeError ? "values that nest too deep" : "a value that no node writes",
      at,
    );
  }
}

/**
 * Walks every value once. msgpackr allocates little for a false length, but its
 * extensions (records, references, big integers, regular expressions) are more
 * than a node has to understand.
 * @returns the index after the value that starts at `at`
 */
export function skipPlain(bytes: Buffer, at: number): number {
  for (let pending = 1; pending > 0; pending--) {
    const byte = bytes[at];
    if (byte === undefined) throw new ScanError("the end, expected a value", at);
    // The commonest first: this walk is a third of reading an envelope.
    if (byte >= 0xa0 && byte <= 0xbf) {
      at += 1 + (byte & 0x1f);
    } else if (byte === 0xc0 || byte <= 0x7f) {
      at++;
    } else if (isBinary(byte)) {
      at = skipBinary(bytes, at);
    } else {
      const count = containerCount(bytes, at, byte);
      if (count === undefined) {
        at = skipMsgpack(bytes, at);
      } else {
        pending += isMapByte(byte) ? count * 2 : count;
        at += containerHead(byte);
      }
    }
  }
  if (at > bytes.length) throw new ScanError("the end inside a text", bytes.length);
  return at;
}
