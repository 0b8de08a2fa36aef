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
 *     [4, [node, openedAtMs, [key, ...]], positions, [item, item, ...]]
 *
 * that lua/history-append.lua puts together, as only it knows the positions (positions.ts): their channels are
 * keys by their number. An item, [encoding, payload, meta, publishedAtMs] with a meta as of version 2, is
 * also what the channel's history holds; items are read where they lie, and only those that are heard. Nodes
 * from before history skip and count it, as this one does version 3, whose items had keys.
 *
 * This file writes them, envelope-reader.ts reads them. msgpackr packs what there is one of in a batch, and control
 * messages. Publications are written byte by byte into one buffer: a publishing node takes 2.5 us for each of them instead
 * of 2.9 us, with history 4.2 us instead of 5.5 us (docs/performance.md).
 */

import type { ChannelKey, PublishRequest } from "../../core/broker.js";
import type { Sender } from "../../core/publication.js";
import { FrameWriter } from "../../encoding/frame-writer.js";
import {
  writeArrayHead,
  writeBinary,
  writeFloat,
  writeNil,
  writeNumber,
  writePlain,
  writeString,
} from "../../encoding/msgpack-writer.js";
import { packMessage } from "./packing.js";

export const ENVELOPE_VERSION = 2;
export const ENVELOPE_VERSION_BEFORE = 1;
export const POSITIONED_VERSION = 4;
export type EnvelopeVersion = typeof ENVELOPE_VERSION | typeof ENVELOPE_VERSION_BEFORE;

export const ENVELOPE_FIELDS = 4;
/** Fields of one publication in the flat array. */
export const STRIDE = 4;
export const META_FIELDS = 5;
export const POSITIONED_FIELDS = 4;
export const ITEM_FIELDS = 4;
/** MessagePack: the first byte of an array of up to 15, to which its length is added. */
export const FIXARRAY = 0x90;

/** Array heads, encoding, time and meta of one publication without its texts. */
const OVERHEAD_BYTES = 32;

/** At least what the publication takes in an envelope: three bytes of UTF-8 a character. */
export function sizeOf(request: PublishRequest): number {
  const { payload, key, from, event, tags, exclude, messageId } = request;
  let characters = key.length + (event?.length ?? 0) + (exclude?.length ?? 0) + (messageId?.length ?? 0);
  if (from !== undefined) characters += from.connection.length + (from.user?.length ?? 0);
  if (tags !== undefined) {
    for (const name in tags) characters += name.length + tags[name]!.length + 2;
  }
  return payload.bytes.length + characters * 3 + OVERHEAD_BYTES;
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
  for (const request of requests) {
    writeString(writer, request.key);
    writeContent(request, request.exclude, version);
  }
  return Buffer.from(writer.written());
}

/**
 * What history holds of publications, one after the other; valid until more is encoded. They have no
 * exclusion: that would be a hole in one reader's offsets.
 */
export function encodeItems(
  requests: readonly PublishRequest[],
  publishedAtMs: number,
): { readonly bytes: Uint8Array; readonly lengths: readonly number[] } {
  const lengths = new Array<number>(requests.length);
  writer.restart(0);
  for (let i = 0; i < requests.length; i++) {
    const start = writer.position;
    writeArrayHead(writer, ITEM_FIELDS);
    writeContent(requests[i]!, undefined, ENVELOPE_VERSION);
    writeFloat(writer, publishedAtMs);
    lengths[i] = writer.position - start;
  }
  return { bytes: writer.written(), lengths };
}

function writeContent(request: PublishRequest, exclude: string | undefined, version: EnvelopeVersion): void {
  const { payload } = request;
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
export function encodePositionedHead(node: string, openedAtMs: number, keys: readonly ChannelKey[]): Buffer {
  const head = packMessage([POSITIONED_VERSION, [node, openedAtMs, keys]]);
  head[0] = FIXARRAY + POSITIONED_FIELDS;
  return head;
}
