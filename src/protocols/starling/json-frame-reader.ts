/** Finds the fields of a command in a JSON text frame, without a parser: values are made only when asked for. */

import { textAt, shortTextAt } from "../../encoding/text-cache.js";
import { isMapByte } from "../../encoding/msgpack-scan.js";
import {
  KEY,
  ScanError,
  skipColon,
  skipSpace,
  skipString,
  skipValue,
  unexpected,
} from "../../encoding/json-scan.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import {
  Field,
  FIELD_COUNT,
  actionAt,
  fieldAt,
  fieldNamed,
  isSecret,
  type FieldReader,
} from "./command-fields.js";

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const NO_FRAME = new Uint8Array(0);

/** One for all frames, one after the other. */
export class JsonFrameReader implements FieldReader {
  /** Which fields the frame has, one bit each. */
  found = 0;
  /** Where their values lie. */
  readonly starts = new Int32Array(FIELD_COUNT);
  readonly ends = new Int32Array(FIELD_COUNT);
  #frame: Uint8Array = NO_FRAME;

  /** @throws ScanError unless the frame is one JSON object; the last of equal keys counts, as in JSON.parse */
  read(frame: Uint8Array): void {
    this.found = 0;
    this.#frame = frame;
    let at = skipSpace(frame, 0);
    if (frame[at] !== OPEN_BRACE) throw notAnObject(frame, at);
    at = skipSpace(frame, at + 1);
    if (frame[at] === CLOSE_BRACE) {
      at++;
    } else {
      for (;;) {
        if (frame[at] !== QUOTE) throw unexpected(frame, at, KEY);
        const keyEnd = skipString(frame, at);
        const field = fieldOfKey(frame, at, keyEnd);
        const start = skipColon(frame, keyEnd);
        const end = skipValue(frame, start);
        if (field !== -1) {
          this.found |= 1 << field;
          this.starts[field] = start;
          this.ends[field] = end;
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

  /** Lets go of the frame. */
  done(): void {
    this.#frame = NO_FRAME;
  }

  value(field: number): unknown {
    if ((this.found & (1 << field)) === 0) return undefined;
    const frame = this.#frame;
    const start = this.starts[field]!;
    const end = this.ends[field]!;
    if (frame[start] === QUOTE && !hasBackslash(frame, start, end)) {
      return isSecret(field) ? textAt(frame, start + 1, end - 1) : shortTextAt(frame, start + 1, end - 1);
    }
    return shortInteger(frame, start, end) ?? (JSON.parse(textAt(frame, start, end)) as unknown);
  }

  action(): unknown {
    if ((this.found & (1 << Field.action)) === 0) return undefined;
    const start = this.starts[Field.action]!;
    if (this.#frame[start] !== QUOTE) return this.value(Field.action);
    return actionAt(this.#frame, start + 1, this.ends[Field.action]! - 1) ?? this.value(Field.action);
  }

  payload(): Payload | undefined {
    if ((this.found & (1 << Field.content)) === 0) return undefined;
    const start = this.starts[Field.content]!;
    return { bytes: this.#frame.subarray(start, this.ends[Field.content]), encoding: Encoding.json };
  }
}

function notAnObject(frame: Uint8Array, at: number): ScanError {
  const wanted = 'an object such as {"action":"ping"}';
  if (frame.length === 0) return new ScanError(`the frame is empty, expected ${wanted}`, 0);
  const byte = frame[at];
  if (byte !== undefined && isMapByte(byte)) {
    return new ScanError(
      `expected ${wanted}, found a MessagePack map`,
      at,
      "its subprotocol is starling.v1.msgpack",
    );
  }
  return unexpected(frame, at, wanted);
}

/** `"\u0061ction"` is `"action"`: a key with an escape is compared unescaped. */
function fieldOfKey(frame: Uint8Array, start: number, end: number): number {
  const field = fieldAt(frame, start + 1, end - 1);
  if (field !== -1 || !hasBackslash(frame, start, end)) return field;
  return fieldNamed(JSON.parse(textAt(frame, start, end)) as string);
}

function hasBackslash(frame: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (frame[i] === BACKSLASH) return true;
  return false;
}

/** Most ids are a few digits: no string, no parser. @returns undefined for anything else */
function shortInteger(frame: Uint8Array, start: number, end: number): number | undefined {
  if (end - start > 15) return undefined;
  let value = 0;
  for (let i = start; i < end; i++) {
    const digit = frame[i]! - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}
