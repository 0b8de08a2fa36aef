/** Reads items, channel keys and the rest of an envelope where they lie, one after the other. */

import type { BusPublication, ChannelKey } from "../../core/broker.js";
import { extrasError, type PublicationExtras } from "../../core/extras.js";
import type { Position, Sender, Tags } from "../../core/publication.js";
import {
  binaryBody,
  containerCount,
  containerHead,
  isBinary,
  isMapByte,
  isString,
  passOver,
  skipBinary,
  stringHead,
  unsignedAt,
} from "../../encoding/msgpack-scan.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import { PeerError } from "../../encoding/peer-error.js";
import { shortTextAt, textAt } from "../../encoding/text-cache.js";
import { EXTRA, FIXARRAY, ITEM_FIELDS, META_FIELDS, STRIDE } from "./envelope.js";
import { skipPlain } from "./packing.js";
import { checkPayload } from "./payload-check.js";

/** An app id, a slash and a channel name, with room to spare: characters. */
const KEY_MAX = 512;
/** MessagePack: nil, and the first byte of a float. */
const NIL = 0xc0;
const FLOAT = 0xcb;
const FLOAT_BYTES = 8;
/** The first byte of a text of up to 31 bytes holds its length. */
const FIXSTR_LAST = 0xbf;

interface Meta {
  readonly from: Sender | undefined;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
  readonly extras: PublicationExtras | undefined;
}

const NO_META: Meta = {
  from: undefined,
  event: undefined,
  tags: undefined,
  exclude: undefined,
  extras: undefined,
};
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
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  /** An item with its time, which is one value. */
  read(key: ChannelKey, position: Position): BusPublication | undefined {
    const start = this.#at;
    try {
      const more = this.enter(ITEM_FIELDS, "an item");
      const payload = this.#payload();
      const meta = this.#meta();
      const publishedAtMs = this.time();
      this.skip(more);
      return publicationOf(key, payload, meta, position, publishedAtMs);
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
    for (let i = 0; i < values; i++) this.#at = passOver(this.#bytes, this.#at);
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw wrong("the end", this.#bytes[this.#at]);
  }

  /** Enters an array of so many fields or more. @returns how many more: who has read the others skips them */
  enter(fields: number, what: string): number {
    const byte = this.#bytes[this.#at];
    if (byte === FIXARRAY + fields) {
      this.#at++;
      return 0;
    }
    const count = this.list(what);
    if (count < fields) throw wrong(what, count);
    return count - fields;
  }

  text(what: string): string {
    const start = this.#passText(what);
    return shortTextAt(this.#bytes, start, this.#at);
  }

  /** One that hardly comes again. */
  #ownText(what: string): string {
    const start = this.#passText(what);
    return textAt(this.#bytes, start, this.#at);
  }

  /** @returns where its characters start: they end where the next value begins */
  #passText(what: string): number {
    const bytes = this.#bytes;
    const at = this.#at;
    const byte = bytes[at];
    if (byte === undefined || !isString(byte)) throw wrong(what, byte);
    const start = at + stringHead(byte);
    const end = byte <= FIXSTR_LAST ? start + (byte & 0x1f) : skipPlain(bytes, at);
    if (end > bytes.length) throw wrong(what, byte);
    this.#at = end;
    return start;
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
    if (knownMetaLength > 0 && isKnownMeta(bytes, at)) {
      this.#at = at + knownMetaLength;
      return knownMeta;
    }
    const more = this.enter(META_FIELDS, "the meta data");
    const connection = this.#optionalText("a sender");
    const user = this.#optionalText("a user");
    const event = this.#optionalText("an event");
    const tags = this.#tags();
    const exclude = this.#optionalText("a connection to exclude");
    const extras = more === 0 ? undefined : this.#extras();
    this.skip(Math.max(0, more - 1));
    const meta = { from: senderOf(connection, user), event, tags, exclude, extras };
    // Traces and sequences differ each time.
    if (extras?.trace === undefined && extras?.sequence === undefined) keepMeta(bytes, at, this.#at, meta);
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
    const count = this.list("the tags");
    if (count % 2 !== 0) throw wrong("the tags", count);
    const pairs: [string, string][] = [];
    for (let i = 0; i < count; i += 2) pairs.push([this.text("a tag"), this.text("a tag")]);
    // Not by assignment: that loses the name "__proto__".
    return Object.fromEntries(pairs);
  }

  #extras(): PublicationExtras | undefined {
    if (this.#bytes[this.#at] === NIL) {
      this.#at++;
      return undefined;
    }
    const count = this.list("the extras");
    if (count % 2 !== 0) throw wrong("the extras", count);
    let trace: string | undefined;
    let info: string | undefined;
    let sequence: number | undefined;
    for (let i = 0; i < count; i += 2) {
      const number = this.#unsigned("the number of an extra");
      if (number === EXTRA.trace) trace = this.#ownText(once("a trace", trace));
      else if (number === EXTRA.info) info = this.#ownText(once("a sender's info", info));
      else if (number === EXTRA.sequence) sequence = this.#unsigned(once("a sequence", sequence));
      else this.skip(1);
    }
    if (trace === undefined && info === undefined && sequence === undefined) return undefined;
    const extras = { trace, info, sequence };
    const error = extrasError(extras);
    if (error !== undefined) throw error;
    return extras;
  }

  #unsigned(what: string): number {
    const read = unsignedAt(this.#bytes, this.#at);
    if (read === undefined) throw wrong(what, this.#bytes[this.#at]);
    this.#at = read.end;
    return read.value;
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

function checkTime(ms: unknown): asserts ms is number {
  if (typeof ms !== "number" || !(ms >= 0)) throw wrong("the time", ms);
}

export function checkKey(key: unknown): asserts key is ChannelKey {
  if (typeof key !== "string" || key.length > KEY_MAX || !key.includes("/"))
    throw wrong("a channel key", key);
}

function publicationOf(
  key: ChannelKey,
  payload: Payload,
  { from, event, tags, exclude, extras }: Meta,
  position: Position | undefined,
  publishedAtMs: number,
): BusPublication {
  return { key, payload, from, event, tags, exclude, position, extras, publishedAtMs };
}

function checkEncoding(encoding: unknown): asserts encoding is Encoding {
  if (typeof encoding !== "number" || encoding > Encoding.text) throw wrong("an encoding", encoding);
}

/** @returns what it is of which there was none `before` */
function once(what: string, before: unknown): string {
  if (before !== undefined) throw new PeerError(`${what} is wrong: there are two`);
  return what;
}

function senderOf(connection: string | undefined, user: string | undefined): Sender | undefined {
  if (connection === undefined) {
    if (user !== undefined) throw wrong("a sender", connection);
    return undefined;
  }
  return user === undefined ? { connection } : { connection, user };
}

/** Says the kind, not the value: an envelope holds what clients said to each other. */
export function wrong(what: string, value: unknown): Error {
  const kind = value === null ? "nil" : Array.isArray(value) ? `an array of ${value.length}` : typeof value;
  return new PeerError(`${what} is wrong: ${typeof value === "number" ? value : kind}`);
}
