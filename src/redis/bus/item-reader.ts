/** Reads items, channel keys and the rest of an envelope where they lie, one after the other. */

import type { BusPublication, ChannelKey } from "../../core/broker.js";
import type { Encoding, Payload } from "../../encoding/payload.js";
import type { Position, Sender, Tags } from "../../core/publication.js";
import {
  binaryBody,
  containerCount,
  containerHead,
  isBinary,
  isMapByte,
  isString,
  skipBinary,
  stringHead,
} from "../../encoding/msgpack-scan.js";
import { shortTextAt } from "../../encoding/text-cache.js";
import { FIXARRAY, ITEM_FIELDS, META_FIELDS, STRIDE } from "./envelope.js";
import { skipPlain, unpackPart } from "./packing.js";
import { checkPayload } from "./payload-check.js";

/** An app id, a slash and a channel name, with room to spare: characters. */
const KEY_MAX = 512;
/** MessagePack: nil, and the first byte of a float. */
const NIL = 0xc0;
const FLOAT = 0xcb;
const FLOAT_BYTES = 8;
/** The first byte of a text of up to 31 bytes holds its length. */
const FIXSTR_LAST = 0xbf;

export type TagsReader = (value: unknown) => Tags;

interface Meta {
  readonly from: Sender | undefined;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
}

const NO_META: Meta = { from: undefined, event: undefined, tags: undefined, exclude: undefined };
/** The meta data that was read last: most publish more than once in a row. Longer is not kept. */
let knownMeta = NO_META;
const KNOWN_META_BYTES_MAX = 256;
const knownMetaBytes = new Uint8Array(KNOWN_META_BYTES_MAX);
let knownMetaLength = 0;

/** An item that cannot be read is passed over: it is known of how many MessagePack values it consists. */
export class ItemReader {
  unreadable = 0;
  problem: unknown;
  readonly #bytes: Buffer;
  readonly #readTags: TagsReader;
  #at: number;

  constructor(bytes: Buffer, at: number, readTags: TagsReader) {
    this.#bytes = bytes;
    this.#at = at;
    this.#readTags = readTags;
  }

  /** An item with its time, which is one value. */
  read(key: ChannelKey, position: Position): BusPublication | undefined {
    const start = this.#at;
    try {
      if (this.#bytes[start] !== FIXARRAY + ITEM_FIELDS) throw wrong("an item", this.#bytes[start]);
      this.#at++;
      const payload = this.#payload();
      const meta = this.#meta();
      return publicationOf(key, payload, meta, position, this.time());
    } catch (error) {
      this.#passOver(start, 1, error);
      return undefined;
    }
  }

  /** What follows a key in an envelope without positions. */
  readFlat(key: ChannelKey, publishedAtMs: number): BusPublication | undefined {
    const start = this.#at;
    try {
      const payload = this.#payload();
      return publicationOf(key, payload, this.#meta(), undefined, publishedAtMs);
    } catch (error) {
      this.#passOver(start, STRIDE - 1, error);
      return undefined;
    }
  }

  /** undefined: it cannot be read, and all that belongs to it was passed over. */
  key(): ChannelKey | undefined {
    const start = this.#at;
    try {
      const key = this.text("a channel key");
      checkKey(key);
      return key;
    } catch (error) {
      this.#passOver(start, STRIDE, error);
      return undefined;
    }
  }

  /** @throws Error where there is no end of them */
  #passOver(start: number, values: number, error: unknown): void {
    this.#at = start;
    this.skip(values);
    this.unreadable++;
    this.problem ??= error;
  }

  skip(values: number): void {
    for (let i = 0; i < values; i++) this.#at = skipPlain(this.#bytes, this.#at);
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw wrong("the end", this.#bytes[this.#at]);
  }

  text(what: string): string {
    const bytes = this.#bytes;
    const at = this.#at;
    const byte = bytes[at];
    if (byte === undefined || !isString(byte)) throw wrong(what, byte);
    const start = at + stringHead(byte);
    const end = byte <= FIXSTR_LAST ? start + (byte & 0x1f) : skipPlain(bytes, at);
    if (end > bytes.length) throw wrong(what, byte);
    this.#at = end;
    return shortTextAt(bytes, start, end);
  }

  /** @returns how many values follow */
  list(what: string): number {
    const byte = this.#bytes[this.#at];
    const count =
      byte === undefined || isMapByte(byte) ? undefined : containerCount(this.#bytes, this.#at, byte);
    if (count === undefined) throw wrong(what, byte);
    this.#at += containerHead(byte!);
    return count;
  }

  #payload(): Payload {
    const bytes = this.#bytes;
    const encoding = bytes[this.#at];
    checkEncoding(encoding);
    const at = this.#at + 1;
    if (!isBinary(bytes[at])) throw wrong("a payload", bytes[at]);
    const end = skipBinary(bytes, at);
    const payload = { bytes: binaryBody(bytes, at, end), encoding };
    checkPayload(payload);
    this.#at = end;
    return payload;
  }

  #meta(): Meta {
    const bytes = this.#bytes;
    const at = this.#at;
    if (bytes[at] === NIL) {
      this.#at = at + 1;
      return NO_META;
    }
    const keeps = this.#readTags === readFlatTags;
    if (keeps && knownMetaLength > 0 && isKnownMeta(bytes, at)) {
      this.#at = at + knownMetaLength;
      return knownMeta;
    }
    if (bytes[at] !== FIXARRAY + META_FIELDS) throw wrong("the meta data", bytes[at]);
    this.#at = at + 1;
    const connection = this.#optionalText("a sender");
    const user = this.#optionalText("a user");
    const event = this.#optionalText("an event");
    const tags = this.#tags();
    const exclude = this.#optionalText("a connection to exclude");
    const meta = { from: senderOf(connection, user), event, tags, exclude };
    if (keeps) keepMeta(bytes, at, this.#at, meta);
    return meta;
  }

  #optionalText(what: string): string | undefined {
    if (this.#bytes[this.#at] !== NIL) return this.text(what);
    this.#at++;
    return undefined;
  }

  #tags(): Tags | undefined {
    if (this.#bytes[this.#at] === NIL) {
      this.#at++;
      return undefined;
    }
    const { value, end } = unpackPart(this.#bytes, this.#at);
    this.#at = end;
    return this.#readTags(value);
  }

  time(): number {
    const at = this.#at;
    this.#at = at + 1 + FLOAT_BYTES;
    if (this.#bytes[at] !== FLOAT || this.#at > this.#bytes.length) {
      this.#at = at;
      throw wrong("the time", this.#bytes[at]);
    }
    const publishedAtMs = this.#bytes.readDoubleBE(at + 1);
    checkTime(publishedAtMs);
    return publishedAtMs;
  }
}

function isKnownMeta(bytes: Uint8Array, at: number): boolean {
  // From the end: senders mostly differ in their last digits.
  for (let i = knownMetaLength - 1; i >= 0; i--) if (bytes[at + i] !== knownMetaBytes[i]) return false;
  return true;
}

function keepMeta(bytes: Uint8Array, at: number, end: number, meta: Meta): void {
  if (end - at > KNOWN_META_BYTES_MAX) return;
  knownMeta = meta;
  knownMetaLength = end - at;
  for (let i = 0; i < knownMetaLength; i++) knownMetaBytes[i] = bytes[at + i]!;
}

export function checkTime(ms: unknown): asserts ms is number {
  if (typeof ms !== "number" || !(ms >= 0)) throw wrong("the time", ms);
}

export function checkKey(key: unknown): asserts key is ChannelKey {
  if (typeof key !== "string" || key.length > KEY_MAX || !key.includes("/"))
    throw wrong("a channel key", key);
}

function publicationOf(
  key: ChannelKey,
  payload: Payload,
  { from, event, tags, exclude }: Meta,
  position: Position | undefined,
  publishedAtMs: number,
): BusPublication {
  return { key, payload, from, event, tags, exclude, position, publishedAtMs };
}

function checkEncoding(encoding: unknown): asserts encoding is Encoding {
  if (encoding !== 0 && encoding !== 1 && encoding !== 2) throw wrong("an encoding", encoding);
}

function senderOf(connection: string | undefined, user: string | undefined): Sender | undefined {
  if (connection === undefined) {
    if (user !== undefined) throw wrong("a sender", connection);
    return undefined;
  }
  return user === undefined ? { connection } : { connection, user };
}

export function readFlatTags(value: unknown): Tags {
  if (!Array.isArray(value) || value.length % 2 !== 0) throw wrong("the tags", value);
  const pairs: [string, string][] = [];
  for (let i = 0; i < value.length; i += 2) pairs.push([tagText(value[i]), tagText(value[i + 1])]);
  // Not by assignment: that loses the name "__proto__".
  return Object.fromEntries(pairs);
}

export function readTagMap(value: unknown): Tags {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong("the tags", value);
  return readFlatTags(Object.entries(value).flat());
}

function tagText(value: unknown): string {
  if (typeof value !== "string") throw wrong("a tag", value);
  return value;
}

/** Says the kind, not the value: an envelope holds what clients said to each other. */
export function wrong(what: string, value: unknown): Error {
  const kind = value === null ? "nil" : Array.isArray(value) ? `an array of ${value.length}` : typeof value;
  return new Error(`${what} is wrong: ${typeof value === "number" ? value : kind}`);
}
