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
 */

import type { BusPublication, PublishRequest } from "../core/broker.js";
import type { Encoding, Payload, Sender, Tags } from "../protocol/messages.js";
import { quote } from "../protocol/errors.js";
import { packMessage, unpackMessage } from "./packing.js";

export const ENVELOPE_VERSION = 2;
export const ENVELOPE_VERSION_BEFORE = 1;
export type EnvelopeVersion = typeof ENVELOPE_VERSION | typeof ENVELOPE_VERSION_BEFORE;

export interface Envelope {
  readonly node: string;
  readonly openedAtMs: number;
  readonly publications: readonly BusPublication[];
}

/** Fields of one publication in the flat array. */
const STRIDE = 4;
const META_FIELDS = 5;
/** An app id, a slash and a channel name, with room to spare: characters. */
const KEY_MAX = 512;
const NODE_MAX = 255;

type Meta = [string | null, string | null, string | null, unknown, string | null];

/** The result is the caller's to keep. */
export function encodeEnvelope(
  node: string,
  openedAtMs: number,
  requests: readonly PublishRequest[],
  version: EnvelopeVersion = ENVELOPE_VERSION,
): Buffer {
  const items = new Array<unknown>(requests.length * STRIDE);
  let at = 0;
  for (const request of requests) {
    items[at++] = request.key;
    items[at++] = request.payload.encoding;
    items[at++] = request.payload.bytes;
    items[at++] = metaOf(request, version);
  }
  return packMessage([version, node, openedAtMs, items]);
}

function metaOf({ from, event, tags, exclude }: PublishRequest, version: EnvelopeVersion): Meta | null {
  if (from === undefined && event === undefined && tags === undefined && exclude === undefined) return null;
  const written =
    tags === undefined ? null : version === ENVELOPE_VERSION_BEFORE ? tags : Object.entries(tags).flat();
  return [from?.connection ?? null, from?.user ?? null, event ?? null, written, exclude ?? null];
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
  if (readTags === undefined) {
    const read = `${ENVELOPE_VERSION_BEFORE} and ${ENVELOPE_VERSION}`;
    throw new Error(`envelope version ${quote(version)} is unknown: this node reads ${read}`);
  }
  if (typeof node !== "string" || node.length > NODE_MAX) throw wrong("the node", node);
  if (typeof openedAtMs !== "number" || !(openedAtMs >= 0)) throw wrong("the time", openedAtMs);
  if (!Array.isArray(items) || items.length % STRIDE !== 0) throw wrong("the list of publications", items);

  const publications = new Array<BusPublication>(items.length / STRIDE);
  for (let i = 0, at = 0; i < publications.length; i++, at += STRIDE) {
    publications[i] = readPublication(items, at, openedAtMs, readTags);
  }
  return { node, openedAtMs, publications };
}

function readPublication(
  items: readonly unknown[],
  at: number,
  publishedAtMs: number,
  readTags: TagsReader,
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
      position: undefined,
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
    position: undefined,
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
