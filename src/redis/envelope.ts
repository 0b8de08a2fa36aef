/**
 * What nodes exchange: a batch of publications as one MessagePack array,
 *
 *     [version, node, openedAtMs, [key, encoding, payload, meta, key, ...]]
 *
 * flat, as that packs and unpacks fastest. `meta` is nil where there is nothing
 * to say, else [connection, user, event, tags, exclude], nil for what is absent.
 *
 * A node reads the current version and the one before, so a fleet is upgraded
 * in two steps: new nodes that still write the previous version, then, when no
 * old node is left, the same nodes writing the current one.
 *
 *     1  tags are a map
 *     2  tags are flat, [name, value, name, ...]: a map cannot carry "__proto__"
 *
 * Publications of channels that keep history travel in a layout of their own,
 *
 *     [3, node, openedAtMs, [offset, epoch, offset, ...], [item, item, ...]]
 *
 * that lua/history-append.lua puts together, as only it knows the positions. An item,
 * [key, encoding, payload, meta, publishedAtMs] with a meta as of version 2, is also what the
 * channel's history holds. Nodes from before history skip and count it.
 */

import type { BusPublication, PublishRequest } from "../core/broker.js";
import type { Encoding, Payload, Position, Sender, Tags } from "../protocol/messages.js";
import { quote } from "../protocol/errors.js";
import { FrameWriter } from "../protocol/frame-writer.js";
import {
  writeArrayHead,
  writeBinary,
  writeFloat,
  writeNil,
  writeNumber,
  writePlain,
  writeString,
} from "../protocol/msgpack-writer.js";
import { packMessage, unpackMessage } from "./packing.js";
import { Places } from "./places.js";

export const ENVELOPE_VERSION = 2;
export const ENVELOPE_VERSION_BEFORE = 1;
export const POSITIONED_VERSION = 3;
export type EnvelopeVersion = typeof ENVELOPE_VERSION | typeof ENVELOPE_VERSION_BEFORE;

export interface Envelope {
  readonly node: string;
  readonly openedAtMs: number;
  readonly publications: readonly BusPublication[];
}

const ENVELOPE_FIELDS = 4;
/** Fields of one publication in the flat array. */
const STRIDE = 4;
const META_FIELDS = 5;
const POSITIONED_FIELDS = 5;
const ITEM_FIELDS = 5;
/** An app id, a slash and a channel name, with room to spare: characters. */
const KEY_MAX = 512;
const NODE_MAX = 255;
const EPOCH_MAX = 64;
/** MessagePack: the first byte of an array of up to 15; its length is added. */
const FIXARRAY = 0x90;

/** Array heads, encoding, time and meta of one publication without its texts. */
const OVERHEAD_BYTES = 32;

/** At least what the publication takes in an envelope: three bytes of UTF-8 a character. */
export function sizeOf(request: PublishRequest): number {
  const { payload, key, from, event, tags, exclude, messageId } = request;
  let characters = (event?.length ?? 0) + (exclude?.length ?? 0) + (messageId?.length ?? 0);
  if (from !== undefined) characters += from.connection.length + (from.user?.length ?? 0);
  if (tags !== undefined) {
    for (const name in tags) characters += name.length + tags[name]!.length + 2;
  }
  return payload.bytes.length + key.length + characters * 3 + OVERHEAD_BYTES;
}

const writer = new FrameWriter();

/** The result is the caller's to keep. */
export function encodeEnvelope(
  node: string,
  openedAtMs: number,
  requests: readonly PublishRequest[],
  version: EnvelopeVersion = ENVELOPE_VERSION,
): Buffer {
  writer.restart(0);
  writeArrayHead(writer, ENVELOPE_FIELDS);
  writeNumber(writer, version);
  writeString(writer, node);
  writeFloat(writer, openedAtMs);
  writeArrayHead(writer, requests.length * STRIDE);
  for (const request of requests) writePublication(request, request.exclude, version);
  return Buffer.from(writer.written());
}

/**
 * What history holds of publications, one after the other. They have no exclusion: that would be a
 * hole in one reader's offsets.
 */
export function encodeItems(
  requests: readonly PublishRequest[],
  publishedAtMs: number,
): { readonly bytes: Buffer; readonly lengths: readonly number[] } {
  const lengths = new Array<number>(requests.length);
  writer.restart(0);
  for (let i = 0; i < requests.length; i++) {
    const start = writer.position;
    writeArrayHead(writer, ITEM_FIELDS);
    writePublication(requests[i]!, undefined, ENVELOPE_VERSION);
    writeFloat(writer, publishedAtMs);
    lengths[i] = writer.position - start;
  }
  return { bytes: Buffer.from(writer.written()), lengths };
}

function writePublication(
  request: PublishRequest,
  exclude: string | undefined,
  version: EnvelopeVersion,
): void {
  const { key, payload } = request;
  writeString(writer, key);
  writeNumber(writer, payload.encoding);
  writeBinary(writer, payload.bytes);
  writeMeta(request, exclude, version);
}

/** The last sender, and the meta data of a publication that has no more than that. */
let lastFrom: Sender | undefined;
let lastMeta = new Uint8Array(0);

function writeMeta(
  { from, event, tags }: PublishRequest,
  exclude: string | undefined,
  version: EnvelopeVersion,
): void {
  const senderAlone = event === undefined && tags === undefined && exclude === undefined;
  if (from === undefined && senderAlone) {
    writeNil(writer);
    return;
  }
  if (senderAlone && from === lastFrom) {
    writer.bytes(lastMeta);
    return;
  }
  const start = writer.position;
  writeArrayHead(writer, META_FIELDS);
  writeText(from?.connection);
  writeText(from?.user);
  writeText(event);
  if (tags === undefined) writeNil(writer);
  else writePlain(writer, version === ENVELOPE_VERSION_BEFORE ? tags : Object.entries(tags).flat());
  writeText(exclude);
  if (!senderAlone) return;
  lastFrom = from;
  lastMeta = Uint8Array.from(writer.written().subarray(start));
}

function writeText(text: string | undefined): void {
  if (text === undefined) writeNil(writer);
  else writeString(writer, text);
}

/** A positioned envelope up to its positions. */
export function encodePositionedHead(node: string, openedAtMs: number): Buffer {
  const head = packMessage([POSITIONED_VERSION, node, openedAtMs]);
  head[0] = FIXARRAY + POSITIONED_FIELDS;
  return head;
}

type TagsReader = (value: unknown) => Tags;

/** By version: what differs between those that are read. */
const TAGS_READERS = new Map<unknown, TagsReader>([
  [ENVELOPE_VERSION_BEFORE, readTagMap],
  [ENVELOPE_VERSION, readFlatTags],
]);

/**
 * Payloads are views into `bytes`.
 * @throws Error saying what is wrong; none of its publications is usable then
 */
export function decodeEnvelope(bytes: Buffer): Envelope {
  const envelope = unpackMessage(bytes);
  if (!Array.isArray(envelope)) throw wrong("the envelope", envelope);
  const [version, node, openedAtMs, items] = envelope as unknown[];
  const readTags = TAGS_READERS.get(version);
  if (readTags === undefined && version !== POSITIONED_VERSION) {
    const read = `${ENVELOPE_VERSION_BEFORE}, ${ENVELOPE_VERSION} and ${POSITIONED_VERSION}`;
    throw new Error(`envelope version ${quote(version)} is unknown: this node reads ${read}`);
  }
  if (typeof node !== "string" || node.length > NODE_MAX) throw wrong("the node", node);
  if (typeof openedAtMs !== "number" || !(openedAtMs >= 0)) throw wrong("the time", openedAtMs);
  if (readTags === undefined) {
    return { node, openedAtMs, publications: readPositioned(envelope as unknown[]) };
  }
  if (!Array.isArray(items) || items.length % STRIDE !== 0) throw wrong("the list of publications", items);

  const publications = new Array<BusPublication>(items.length / STRIDE);
  for (let i = 0, at = 0; i < publications.length; i++, at += STRIDE) {
    publications[i] = readPublication(items, at, openedAtMs, readTags, undefined);
  }
  return { node, openedAtMs, publications };
}

function readPositioned(envelope: readonly unknown[]): BusPublication[] {
  const [, , , positions, items] = envelope;
  if (!Array.isArray(items)) throw wrong("the list of items", items);
  const places = new Places(positions, items.length);
  return items.map((item: unknown, i) => {
    const offset = places.offset(i);
    const epoch = places.text(i);
    if (offset < 1) throw wrong("an offset", offset);
    if (epoch === "" || epoch.length > EPOCH_MAX) throw wrong("an epoch", epoch);
    return readItem(item, { offset, epoch });
  });
}

/**
 * The payload is a view into what was unpacked.
 * @throws Error saying what is wrong
 */
export function readItem(item: unknown, position: Position): BusPublication {
  if (!Array.isArray(item) || item.length !== ITEM_FIELDS) throw wrong("an item", item);
  const publishedAtMs: unknown = item[STRIDE];
  if (typeof publishedAtMs !== "number" || !(publishedAtMs >= 0)) throw wrong("the time", publishedAtMs);
  return readPublication(item, 0, publishedAtMs, readFlatTags, position);
}

/**
 * The items of an entry of history, which holds one as it is or a list of several.
 * @throws Error saying what is wrong
 */
export function readEntry(bytes: Buffer, count: number): readonly unknown[] {
  const value = unpackMessage(bytes);
  if (!Array.isArray(value)) throw wrong("an entry of history", value);
  const items = Array.isArray(value[0]) ? (value as unknown[]) : [value];
  if (items.length !== count) throw wrong(`an entry of ${count}`, items.length);
  return items;
}

function readPublication(
  items: readonly unknown[],
  at: number,
  publishedAtMs: number,
  readTags: TagsReader,
  position: Position | undefined,
): BusPublication {
  const key = items[at];
  if (typeof key !== "string" || key.length > KEY_MAX || !key.includes("/"))
    throw wrong("a channel key", key);
  const payload = readPayload(items[at + 1], items[at + 2]);
  const meta = items[at + 3];
  if (meta === null) {
    return {
      key,
      payload,
      from: undefined,
      event: undefined,
      tags: undefined,
      exclude: undefined,
      position,
      publishedAtMs,
    };
  }
  if (!Array.isArray(meta) || meta.length !== META_FIELDS) throw wrong("the meta data", meta);
  return {
    key,
    payload,
    from: readSender(meta[0], meta[1]),
    event: readText(meta[2], "an event"),
    tags: meta[3] === null ? undefined : readTags(meta[3]),
    exclude: readText(meta[4], "a connection to exclude"),
    position,
    publishedAtMs,
  };
}

function readPayload(encoding: unknown, bytes: unknown): Payload {
  if (encoding !== 0 && encoding !== 1 && encoding !== 2) throw wrong("an encoding", encoding);
  if (!(bytes instanceof Uint8Array)) throw wrong("a payload", bytes);
  return { bytes, encoding: encoding satisfies Encoding };
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
