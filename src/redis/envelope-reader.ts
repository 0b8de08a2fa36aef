/** Reads what envelope.ts lays out, and believes none of it. */

import type { BusPublication, ChannelKey } from "../core/broker.js";
import type { Encoding, Payload } from "../encoding/payload.js";
import type { Position, Sender, Tags } from "../core/publication.js";
import { quote } from "../core/errors.js";
import { EPOCH_CHARACTERS_MAX } from "../core/limits.js";
import {
  binaryBody,
  containerCount,
  containerHead,
  isBinary,
  isMapByte,
  isString,
  skipBinary,
  stringHead,
} from "../encoding/msgpack-scan.js";
import { shortTextAt } from "../encoding/text-cache.js";
import {
  ENVELOPE_VERSION,
  ENVELOPE_VERSION_BEFORE,
  FIXARRAY,
  ENVELOPE_FIELDS,
  ITEM_FIELDS,
  META_FIELDS,
  POSITIONED_FIELDS,
  POSITIONED_VERSION,
  STRIDE,
} from "./envelope.js";
import { checkSize, skipPlain, unpackMessage, unpackPart } from "./packing.js";
import { checkPayload } from "./payload-check.js";
import { Places, takeOffset } from "./places.js";

export interface Envelope {
  readonly node: string;
  readonly openedAtMs: number;
  readonly publications: readonly BusPublication[];
  /** How many more there are that nobody here hears. */
  readonly unheard: number;
  /** How many more that are heard and cannot be read, and what is wrong with the first of them. */
  readonly unreadable: number;
  readonly problem: unknown;
}

/** An app id, a slash and a channel name, with room to spare: characters. */
const KEY_MAX = 512;
const NODE_MAX = 255;
/** MessagePack: nil, and the first byte of a float. */
const NIL = 0xc0;
const FLOAT = 0xcb;
const FLOAT_BYTES = 8;
/** The first byte of a text of up to 31 bytes holds its length. */
const FIXSTR_LAST = 0xbf;

type TagsReader = (value: unknown) => Tags;

/** By version: what differs between those that are read. */
const TAGS_READERS = new Map<number | undefined, TagsReader>([
  [ENVELOPE_VERSION_BEFORE, readTagMap],
  [ENVELOPE_VERSION, readFlatTags],
]);

/**
 * Payloads are views into `bytes`. A publication that cannot be read costs the others nothing.
 * @param hears  whether anyone here does; others' publications are left out
 * @throws Error saying what is wrong; none of its publications is usable then
 */
export function decodeEnvelope(bytes: Buffer, hears: (key: ChannelKey) => boolean): Envelope {
  if (bytes[0] === FIXARRAY + POSITIONED_FIELDS && bytes[1] === POSITIONED_VERSION) {
    return decodePositioned(bytes, hears);
  }
  if (bytes[0] !== FIXARRAY + ENVELOPE_FIELDS) throw wrong("the envelope", unpackMessage(bytes));
  const readTags = TAGS_READERS.get(bytes[1]);
  if (readTags === undefined) {
    const read = `${ENVELOPE_VERSION_BEFORE}, ${ENVELOPE_VERSION} and ${POSITIONED_VERSION}`;
    const version = unpackPart(bytes, 1).value;
    throw new Error(`envelope version ${quote(version)} is unknown: this node reads ${read}`);
  }
  checkSize(bytes);
  const reader = new ItemReader(bytes, 2, readTags);
  const node = reader.text("the node");
  checkNode(node);
  const openedAtMs = reader.time();
  const count = reader.list("the list of publications");
  if (count % STRIDE !== 0) throw new Error(`the list of publications is wrong: an array of ${count}`);

  const publications: BusPublication[] = [];
  let lastKey = "";
  let heard = false;
  let unheard = 0;
  for (let i = 0; i < count; i += STRIDE) {
    const key = reader.key();
    if (key !== undefined && key !== lastKey) {
      lastKey = key;
      heard = hears(key);
    }
    if (key === undefined) continue;
    if (heard) {
      const publication = reader.readFlat(key, openedAtMs);
      if (publication !== undefined) publications.push(publication);
    } else {
      unheard++;
      reader.skip(STRIDE - 1);
    }
  }
  reader.end();
  const { unreadable, problem } = reader;
  return { node, openedAtMs, publications, unheard, unreadable, problem };
}

function decodePositioned(bytes: Buffer, hears: (key: ChannelKey) => boolean): Envelope {
  const head = unpackPart(bytes, 2);
  if (!Array.isArray(head.value)) throw wrong("the head", head.value);
  const [node, openedAtMs, keys] = head.value as unknown[];
  checkNode(node);
  checkTime(openedAtMs);
  if (!Array.isArray(keys)) throw wrong("the list of channels", keys);
  const listed = unpackPart(bytes, head.end);
  const itemsByte = bytes[listed.end];
  const count =
    itemsByte === undefined || isMapByte(itemsByte)
      ? undefined
      : containerCount(bytes, listed.end, itemsByte);
  if (count === undefined) throw wrong("the list of items", itemsByte);
  const places = new Places(listed.value, count);
  const runs = places.runs.map((run) => {
    const { channel, text: epoch, next: first } = run;
    const key: unknown = keys[channel - 1];
    checkKey(key);
    if (epoch === "" || epoch.length > EPOCH_CHARACTERS_MAX) throw wrong("an epoch", epoch);
    if (first < 1) throw wrong("an offset", first);
    return { key, run, heard: hears(key) };
  });
  const publications: BusPublication[] = [];
  const reader = new ItemReader(bytes, listed.end + containerHead(itemsByte!), readFlatTags);
  let unheard = 0;
  for (let i = 0; i < count; i++) {
    const { key, run, heard } = runs[places.run(i)]!;
    const offset = takeOffset(run);
    if (heard) {
      const publication = reader.read(key, { offset, epoch: run.text });
      if (publication !== undefined) publications.push(publication);
    } else {
      unheard++;
      reader.skip(1);
    }
  }
  reader.end();
  const { unreadable, problem } = reader;
  return { node, openedAtMs, publications, unheard, unreadable, problem };
}

/**
 * The publications of an entry of history, in order; undefined stands for one that cannot be read. Their payloads are
 * views into `bytes`.
 * @throws Error saying what is wrong, where it cannot be told which they are
 */
export function readEntry(bytes: Buffer, key: ChannelKey, epoch: string, first: number, count: number) {
  const reader = new ItemReader(bytes, 0, readFlatTags);
  const publications: (BusPublication | undefined)[] = [];
  for (let i = 0; i < count; i++) publications.push(reader.read(key, { offset: first + i, epoch }));
  reader.end();
  const { unreadable, problem } = reader;
  return { publications, unreadable, problem };
}

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

/** Reads where it lies, one after the other. What cannot be read is passed over: every item is so many values. */
class ItemReader {
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

function checkNode(node: unknown): asserts node is string {
  if (typeof node !== "string" || node.length > NODE_MAX) throw wrong("the node", node);
}

function checkTime(ms: unknown): asserts ms is number {
  if (typeof ms !== "number" || !(ms >= 0)) throw wrong("the time", ms);
}

function checkKey(key: unknown): asserts key is ChannelKey {
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

function readFlatTags(value: unknown): Tags {
  if (!Array.isArray(value) || value.length % 2 !== 0) throw wrong("the tags", value);
  const pairs: [string, string][] = [];
  for (let i = 0; i < value.length; i += 2) pairs.push([tagText(value[i]), tagText(value[i + 1])]);
  // Not by assignment: that loses the name "__proto__".
  return Object.fromEntries(pairs);
}

function readTagMap(value: unknown): Tags {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong("the tags", value);
  return readFlatTags(Object.entries(value).flat());
}

function tagText(value: unknown): string {
  if (typeof value !== "string") throw wrong("a tag", value);
  return value;
}

/** Says the kind, not the value: an envelope holds what clients said to each other. */
function wrong(what: string, value: unknown): Error {
  const kind = value === null ? "nil" : Array.isArray(value) ? `an array of ${value.length}` : typeof value;
  return new Error(`${what} is wrong: ${typeof value === "number" ? value : kind}`);
}
