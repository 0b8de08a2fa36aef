/**
 * Frames mostly begin alike, `{"action":"send","channel":"room","content":`, and end with the content. What stands
 * around the name of the channel is then read once: comparing it takes a fifth of the time.
 */

import { ScanError, skipValue } from "../../encoding/json-scan.js";
import { Encoding } from "../../encoding/payload.js";
import { shortTextAt } from "../../encoding/text-cache.js";
import { Field } from "./command-fields.js";
import type { JsonFrameReader } from "./json-frame-reader.js";
import type { Command } from "./messages.js";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const CLOSE_BRACE = 0x7d;
/** Longer beginnings are not kept. */
const BYTES_MAX = 384;
const FIELDS = (1 << Field.action) | (1 << Field.channel) | (1 << Field.content);

/** The beginning of the last frame that had one, without the channel's name. */
export class FrameTemplate {
  readonly #bytes = new Uint8Array(BYTES_MAX);
  /** Up to and with the quote before the channel's name. */
  #headLength = 0;
  /** From the quote behind the name up to the content. */
  #length = 0;
  #command: Command | undefined;

  /** @returns undefined unless the frame begins as the template does, and nothing but content follows */
  decode(frame: Uint8Array): Command | undefined {
    const length = this.#length;
    if (this.#command === undefined || frame.length <= length) return undefined;
    const bytes = this.#bytes;
    const headLength = this.#headLength;
    for (let i = headLength - 1; i >= 0; i--) if (frame[i] !== bytes[i]) return undefined;
    const end = frame.length - 1;
    let at = headLength;
    for (; frame[at] !== QUOTE; at++) {
      // An escape, or what no string may hold, needs a reader, as does a name without an end.
      if (frame[at] === BACKSLASH || frame[at]! < SPACE || at === end) return undefined;
    }
    const nameEnd = at;
    for (let i = headLength; i < length; i++, at++) if (frame[at] !== bytes[i]) return undefined;
    if (frame[end] !== CLOSE_BRACE) return undefined;
    try {
      if (skipValue(frame, at) !== end) return undefined;
    } catch (error) {
      // The reader says what is wrong.
      if (error instanceof ScanError) return undefined;
      throw error;
    }
    return {
      ...this.#command,
      channel: shortTextAt(frame, headLength, nameEnd),
      content: { bytes: frame.subarray(at, end), encoding: Encoding.json },
    };
  }

  /** Takes a frame that was read for the template, where it is one. */
  keep(frame: Uint8Array, command: Command, { found, starts, ends }: JsonFrameReader): void {
    if (found !== FIELDS || command.action !== "send") return;
    const start = starts[Field.content]!;
    const nameStart = starts[Field.channel]! + 1;
    const nameEnd = ends[Field.channel]! - 1;
    if (start > BYTES_MAX || start < nameEnd || ends[Field.content] !== frame.length - 1) return;
    this.#bytes.set(frame.subarray(0, nameStart));
    this.#bytes.set(frame.subarray(nameEnd, start), nameStart);
    this.#headLength = nameStart;
    this.#length = nameStart + start - nameEnd;
    this.#command = { ...command, channel: undefined, content: undefined };
  }
}
