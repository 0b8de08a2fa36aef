/**
 * What nodes exchange: a batch of publications as one MessagePack array, flat, as that packs and unpacks fastest,
 *
 *     [2, node, openedAtMs, [key, encoding, payload, meta, key, ...]]
 *
 * and of those whose channels keep history, as lua/history-append.lua puts it together, for only it knows the positions
 * (positions.ts), with channels that are keys by their number,
 *
 *     [4, [node, openedAtMs, [key, ...]], positions, [item, item, ...]]
 *
 * An item, [encoding, payload, meta, publishedAtMs], is also what the channel's history holds. `meta` is nil where there
 * is nothing to say, else [connection, user, event, tags, exclude, extras], nil for what is absent. Tags are flat,
 * [name, value, name, ...]: a map cannot carry "__proto__". So are extras, [number, value, number, ...]:
 *
 *     1  trace, a text       2  info, a text       3  sequence, a number
 *
 * What there is can grow. Behind the fields above the envelope, the head, an item and a meta may have more, and extras may
 * have other numbers: a reader skips what it does not know. An encoding that it does not know costs that one publication.
 * Nodes from before that read nothing of the kind (link/fleet-format.ts). So what brings no extras has no sixth field, and
 * while such nodes are in the fleet nothing has: extras are left out, and a text is written as JSON.
 *
 * This file writes them, envelope-reader.ts reads them. msgpackr packs what there is one of in a batch, and control
 * messages. Publications are written byte by byte into one buffer: a publishing node takes 2.5 us for each of them instead
 * of 2.9 us, with history 4.2 us instead of 5.5 us (docs/performance.md).
 */

import type { ChannelKey, PublishRequest } from "../../core/broker.js";
import type { PublicationExtras } from "../../core/extras.js";
import type { Sender } from "../../core/publication.js";
import { Encoding } from "../../encoding/payload.js";
import { textToJson } from "../../encoding/text-content.js";
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
import { FORMAT_OF_EXTRAS } from "../link/fleet-format.js";
import { packMessage } from "./packing.js";

export const ENVELOPE_VERSION = 2;
export const POSITIONED_VERSION = 4;

/** Of either layout, at the least, as all that follow. */
export const ENVELOPE_FIELDS = 4;
export const HEAD_FIELDS = 3;
/** Fields of one publication in the flat array. */
export const STRIDE = 4;
export const META_FIELDS = 5;
export const ITEM_FIELDS = 4;
export const EXTRA = { trace: 1, info: 2, sequence: 3 } as const;
/** MessagePack: the first byte of an array of up to 15, to which its length is added. */
export const FIXARRAY = 0x90;

/** Array heads, encoding, time and meta of one publication without its texts. */
const OVERHEAD_BYTES = 32;

/** At least what the publication takes in an envelope: three bytes of UTF-8 a character. */
export function sizeOf(request: PublishRequest, format: number): number {
  const { key, from, event, tags, exclude, extras, messageId } = request;
  let characters = key.length + (event?.length ?? 0) + (exclude?.length ?? 0) + (messageId?.length ?? 0);
  if (from !== undefined) characters += from.connection.length + (from.user?.length ?? 0);
  if (tags !== undefined) {
    for (const name in tags) characters += name.length + tags[name]!.length + 2;
  }
  if (extras !== undefined)
    characters += (extras.trace?.length ?? 0) + (extras.info?.length ?? 0) + OVERHEAD_BYTES;
  return contentOf(request, format).length + characters * 3 + OVERHEAD_BYTES;
}

/** Nodes of an older format know no text. */
function isTextInJson({ payload }: PublishRequest, format: number): boolean {
  return payload.encoding === Encoding.text && format < FORMAT_OF_EXTRAS;
}

function contentOf(request: PublishRequest, format: number): Uint8Array {
  const { bytes } = request.payload;
  return isTextInJson(request, format) ? textToJson(bytes) : bytes;
}

const writer = new FrameWriter();

/** @param format  what all who read it do. @returns bytes that are the caller's to keep */
export function encodeEnvelope(
  node: string,
  openedAtMs: number,
  requests: readonly PublishRequest[],
  format: number,
): Buffer {
  writer.restart(0);
  writeArrayHead(writer, ENVELOPE_FIELDS);
  writeNumber(writer, ENVELOPE_VERSION);
  writeString(writer, node);
  writeFloat(writer, openedAtMs);
  writeArrayHead(writer, requests.length * STRIDE);
  for (const request of requests) {
    writeString(writer, request.key);
    writeContent(request, format);
  }
  return Buffer.from(writer.written());
}

/** What history holds of publications, one after the other; valid until more is encoded. */
export function encodeItems(
  requests: readonly PublishRequest[],
  publishedAtMs: number,
  format: number,
): { readonly bytes: Uint8Array; readonly lengths: readonly number[] } {
  const lengths = new Array<number>(requests.length);
  writer.restart(0);
  for (let i = 0; i < requests.length; i++) {
    const start = writer.position;
    writeArrayHead(writer, ITEM_FIELDS);
    writeContent(requests[i]!, format);
    writeFloat(writer, publishedAtMs);
    lengths[i] = writer.position - start;
  }
  return { bytes: writer.written(), lengths };
}

function writeContent(request: PublishRequest, format: number): void {
  writeNumber(writer, isTextInJson(request, format) ? Encoding.json : request.payload.encoding);
  writeBinary(writer, contentOf(request, format));
  writeMeta(request, format);
}

/** The last sender, and the meta data of a publication that has no more than that. */
let lastFrom: Sender | undefined;
let lastMeta = new Uint8Array(0);

function writeMeta({ from, event, tags, exclude, extras: given }: PublishRequest, format: number): void {
  const extras = given === undefined || format < FORMAT_OF_EXTRAS || !hasAny(given) ? undefined : given;
  const senderAlone =
    event === undefined && tags === undefined && exclude === undefined && extras === undefined;
  if (from === undefined && senderAlone) {
    writeNil(writer);
    return;
  }
  if (senderAlone && from === lastFrom) {
    writer.bytes(lastMeta);
    return;
  }
  const start = writer.position;
  writeArrayHead(writer, META_FIELDS + (extras === undefined ? 0 : 1));
  writeText(from?.connection);
  writeText(from?.user);
  writeText(event);
  if (tags === undefined) writeNil(writer);
  else writePlain(writer, Object.entries(tags).flat());
  writeText(exclude);
  if (extras !== undefined) writeExtras(extras);
  if (!senderAlone) return;
  lastFrom = from;
  lastMeta = Uint8Array.from(writer.written().subarray(start));
}

function hasAny({ trace, info, sequence }: PublicationExtras): boolean {
  return trace !== undefined || info !== undefined || sequence !== undefined;
}

function writeExtras({ trace, info, sequence }: PublicationExtras): void {
  const list: (number | string)[] = [];
  if (trace !== undefined) list.push(EXTRA.trace, trace);
  if (info !== undefined) list.push(EXTRA.info, info);
  if (sequence !== undefined) list.push(EXTRA.sequence, sequence);
  writePlain(writer, list);
}

function writeText(text: string | undefined): void {
  if (text === undefined) writeNil(writer);
  else writeString(writer, text);
}

/** A positioned envelope up to its positions. */
export function encodePositionedHead(node: string, openedAtMs: number, keys: readonly ChannelKey[]): Buffer {
  const head = packMessage([POSITIONED_VERSION, [node, openedAtMs, keys]]);
  head[0] = FIXARRAY + ENVELOPE_FIELDS;
  return head;
}
