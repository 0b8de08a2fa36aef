/** Reads what envelope.ts lays out, and believes none of it. */

import type { BusPublication, ChannelKey } from "../core/broker.js";
import type { Encoding, Payload, Position, Sender, Tags } from "../protocol/messages.js";
import { quote } from "../protocol/errors.js";
import {
  binaryBody,
  containerCount,
  containerHead,
  isBinary,
  isMapByte,
  skipBinary,
} from "../protocol/msgpack-scan.js";
import {
  ENVELOPE_VERSION,
  ENVELOPE_VERSION_BEFORE,
  FIXARRAY,
  ITEM_FIELDS,
  META_FIELDS,
  POSITIONED_FIELDS,
  POSITIONED_VERSION,
  STRIDE,
} from "./envelope.js";
import { skipPlain, unpackMessage, unpackPart } from "./packing.js";
import { Places, takeOffset } from "./places.js";

export interface Envelope {
  readonly node: string;
  readonly openedAtMs: number;
  readonly publications: readonly BusPublication[];
  /** How many more there are that nobody here hears. */
  readonly unheard: number;
}

/** An app id, a slash and a channel name, with room to spare: characters. */
const KEY_MAX = 512;
const NODE_MAX = 255;
const EPOCH_MAX = 64;
/** MessagePack: nil, and the first byte of a float. */
const NIL = 0xc0;
const FLOAT = 0xcb;
const FLOAT_BYTES = 8;

type TagsReader = (value: unknown) => Tags;

/** By version: what differs between those that are read. */
const TAGS_READERS = new Map<unknown, TagsReader>([
  [ENVELOPE_VERSION_BEFORE, readTagMap],
  [ENVELOPE_VERSION, readFlatTags],
]);

/**
 * Payloads are views into `bytes`.
 * @param hears  whether anyone here does; others' publications may be left out
 * @throws Error saying what is wrong; none of its publications is usable then
 */
export function decodeEnvelope(bytes: Buffer, hears: (key: ChannelKey) => boolean): Envelope {
  if (bytes[0] === FIXARRAY + POSITIONED_FIELDS && bytes[1] === POSITIONED_VERSION) {
    return decodePositioned(bytes, hears);
  }
  const envelope = unpackMessage(bytes);
  if (!Array.isArray(envelope)) throw wrong("the envelope", envelope);
  const [version, node, openedAtMs, items] = envelope as unknown[];
  const readTags = TAGS_READERS.get(version);
  if (readTags === undefined) {
    const read = `${ENVELOPE_VERSION_BEFORE}, ${ENVELOPE_VERSION} and ${POSITIONED_VERSION}`;
    throw new Error(`envelope version ${quote(version)} is unknown: this node reads ${read}`);
  }
  checkNode(node);
  checkTime(openedAtMs);
  if (!Array.isArray(items) || items.length % STRIDE !== 0) throw wrong("the list of publications", items);

  const publications = new Array<BusPublication>(items.length / STRIDE);
  for (let i = 0, at = 0; i < publications.length; i++, at += STRIDE) {
    const key: unknown = items[at];
    checkKey(key);
    const payload = readPayload(items[at + 1], items[at + 2]);
    publications[i] = publicationOf(key, payload, readMeta(items[at + 3], readTags), undefined, openedAtMs);
  }
  return { node, openedAtMs, publications, unheard: 0 };
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
    if (epoch === "" || epoch.length > EPOCH_MAX) throw wrong("an epoch", epoch);
    if (first < 1) throw wrong("an offset", first);
    return { key, run, heard: hears(key) };
  });
  const publications: BusPublication[] = [];
  const reader = new ItemReader(bytes, listed.end + containerHead(itemsByte!));
  for (let i = 0; i < count; i++) {
    const { key, run, heard } = runs[places.run(i)]!;
    const offset = takeOffset(run);
    if (heard) publications.push(reader.read(key, { offset, epoch: run.text }));
    else reader.skip();
  }
  reader.end();
  return { node, openedAtMs, publications, unheard: count - publications.length };
}

/**
 * The publications of an entry of history. Their payloads are views into `bytes`.
 * @throws Error saying what is wrong
 */
export function readEntry(bytes: Buffer, key: ChannelKey, epoch: string, first: number, count: number) {
  const reader = new ItemReader(bytes, 0);
  const publications: BusPublication[] = [];
  for (let i = 0; i < count; i++) publications.push(reader.read(key, { offset: first + i, epoch }));
  reader.end();
  return publications;
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
let knownMetaBytes: Uint8Array = Uint8Array.of(NIL);
const KNOWN_META_BYTES_MAX = 256;

/** Reads items where they lie, one after the other. */
class ItemReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  read(key: ChannelKey, position: Position): BusPublication {
    const bytes = this.#bytes;
    const payloadAt = this.#payloadAt();
    const metaAt = skipBinary(bytes, payloadAt);
    const payload = {
      bytes: binaryBody(bytes, payloadAt, metaAt),
      encoding: bytes[payloadAt - 1] as Encoding,
    };
    const meta = this.#metaAt(metaAt);
    return publicationOf(key, payload, meta, position, this.#time());
  }

  skip(): void {
    this.#at = skipPlain(this.#bytes, skipBinary(this.#bytes, this.#payloadAt()));
    this.#time();
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw wrong("the end", this.#bytes[this.#at]);
  }

  #payloadAt(): number {
    const bytes = this.#bytes;
    const at = this.#at;
    if (bytes[at] !== FIXARRAY + ITEM_FIELDS) throw wrong("an item", bytes[at]);
    checkEncoding(bytes[at + 1]);
    if (!isBinary(bytes[at + 2])) throw wrong("a payload", bytes[at + 2]);
    return at + 2;
  }

  #metaAt(at: number): Meta {
    const bytes = this.#bytes;
    if (startsAt(bytes, at, knownMetaBytes)) {
      this.#at = at + knownMetaBytes.length;
      return knownMeta;
    }
    const { value, end } = unpackPart(bytes, at);
    const meta = readMeta(value, readFlatTags);
    if (end - at <= KNOWN_META_BYTES_MAX) {
      knownMeta = meta;
      knownMetaBytes = Uint8Array.from(bytes.subarray(at, end));
    }
    this.#at = end;
    return meta;
  }

  #time(): number {
    const at = this.#at;
    this.#at = at + 1 + FLOAT_BYTES;
    if (this.#bytes[at] !== FLOAT || this.#at > this.#bytes.length) throw wrong("the time", this.#bytes[at]);
    const publishedAtMs = this.#bytes.readDoubleBE(at + 1);
    checkTime(publishedAtMs);
    return publishedAtMs;
  }
}

function startsAt(bytes: Uint8Array, at: number, known: Uint8Array): boolean {
  for (let i = known.length - 1; i >= 0; i--) if (bytes[at + i] !== known[i]) return false;
  return true;
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

function readMeta(meta: unknown, readTags: TagsReader): Meta {
  if (meta === null) return NO_META;
  if (!Array.isArray(meta) || meta.length !== META_FIELDS) throw wrong("the meta data", meta);
  return {
    from: readSender(meta[0], meta[1]),
    event: readText(meta[2], "an event"),
    tags: meta[3] === null ? undefined : readTags(meta[3]),
    exclude: readText(meta[4], "a connection to exclude"),
  };
}

function readPayload(encoding: unknown, bytes: unknown): Payload {
  checkEncoding(encoding);
  if (!(bytes instanceof Uint8Array)) throw wrong("a payload", bytes);
  return { bytes, encoding };
}

function checkEncoding(encoding: unknown): asserts encoding is Encoding {
  if (encoding !== 0 && encoding !== 1 && encoding !== 2) throw wrong("an encoding", encoding);
}

function readSender(connection: unknown, user: unknown): Sender | undefined {
  const id = readText(connection, "a sender");
  const name = readText(user, "a user");
  if (id === undefined) {
    if (name !== undefined) throw wrong("a sender", connection);
    return undefined;
  }
  return name === undefined ? { connection: id } : { connection: id, user: name };
}

function readText(value: unknown, what: string): string | undefined {
  if (value === null) return undefined;
  if (typeof value !== "string") throw wrong(what, value);
  return value;
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
