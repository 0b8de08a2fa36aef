/**
 * Reads what envelope.ts writes, and trusts none of it. Only heads and tags are read by msgpackr; keys, senders and
 * payloads are read where they lie. With the check of each payload included, reading an envelope and making its frames
 * takes 0.88 x the time of msgpackr with one sender and 0.93 x with thirty in turn; with history 1.14 x and 0.45 x
 * (docs/performance.md, 128 bytes of text).
 */

import type { BusPublication, ChannelKey } from "../../core/broker.js";
import { quote } from "../../core/errors.js";
import { EPOCH_CHARACTERS_MAX } from "../../core/limits.js";
import { containerCount, containerHead, isMapByte } from "../../encoding/msgpack-scan.js";
import {
  ENVELOPE_FIELDS,
  ENVELOPE_VERSION,
  ENVELOPE_VERSION_BEFORE,
  FIXARRAY,
  POSITIONED_FIELDS,
  POSITIONED_VERSION,
  STRIDE,
} from "./envelope.js";
import {
  checkKey,
  checkTime,
  ItemReader,
  readFlatTags,
  readTagMap,
  wrong,
  type TagsReader,
} from "./item-reader.js";
import { checkSize, unpackMessage, unpackPart } from "./packing.js";
import { BatchPositions, takeOffset } from "./positions.js";

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

const NODE_MAX = 255;

/** By version: what differs between those that are read. */
const TAGS_READERS = new Map<number | undefined, TagsReader>([
  [ENVELOPE_VERSION_BEFORE, readTagMap],
  [ENVELOPE_VERSION, readFlatTags],
]);

/**
 * Payloads are views into `bytes`. A publication that cannot be read costs the others nothing.
 * @param hasSubscribers  whether anyone here does; others' publications are left out
 * @throws Error saying what is wrong; none of its publications is usable then
 */
export function decodeEnvelope(bytes: Buffer, hasSubscribers: (key: ChannelKey) => boolean): Envelope {
  if (bytes[0] === FIXARRAY + POSITIONED_FIELDS && bytes[1] === POSITIONED_VERSION) {
    return decodePositioned(bytes, hasSubscribers);
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
      heard = hasSubscribers(key);
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

function decodePositioned(bytes: Buffer, hasSubscribers: (key: ChannelKey) => boolean): Envelope {
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
  const positions = new BatchPositions(listed.value, count);
  const runs = positions.runs.map((run) => {
    const { channel, epochOrRefusal: epoch, next: first } = run;
    const key: unknown = keys[channel - 1];
    checkKey(key);
    if (epoch === "" || epoch.length > EPOCH_CHARACTERS_MAX) throw wrong("an epoch", epoch);
    if (first < 1) throw wrong("an offset", first);
    return { key, run, heard: hasSubscribers(key) };
  });
  const publications: BusPublication[] = [];
  const reader = new ItemReader(bytes, listed.end + containerHead(itemsByte!), readFlatTags);
  let unheard = 0;
  for (let i = 0; i < count; i++) {
    const { key, run, heard } = runs[positions.runOf(i)]!;
    const offset = takeOffset(run);
    if (heard) {
      const publication = reader.read(key, { offset, epoch: run.epochOrRefusal });
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

function checkNode(node: unknown): asserts node is string {
  if (typeof node !== "string" || node.length > NODE_MAX) throw wrong("the node", node);
}
