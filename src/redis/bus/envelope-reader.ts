/**
 * Reads what envelope.ts writes, and trusts none of it. Only positions are read by msgpackr; everything else is
 * read where it lies. With the check of each payload included, reading an envelope and making its frames
 * takes 0.88 x the time of msgpackr with one sender and 0.93 x with thirty in turn; with history 1.14 x and 0.45 x
 * (docs/performance.md, 128 bytes of text).
 */

import type { BusPublication, ChannelKey } from "../../core/broker.js";
import { PeerError } from "../../encoding/peer-error.js";
import { quote } from "../../core/errors.js";
import { EPOCH_CHARACTERS_MAX } from "../../core/limits.js";
import { ENVELOPE_FIELDS, ENVELOPE_VERSION, HEAD_FIELDS, POSITIONED_VERSION, STRIDE } from "./envelope.js";
import { checkKey, ItemReader, wrong } from "./item-reader.js";
import { checkSize, unpackPart } from "./packing.js";
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

/**
 * Payloads are views into `bytes`. A publication that cannot be read costs the others nothing.
 * @param hasSubscribers  whether anyone here does; others' publications are left out
 * @throws Error saying what is wrong; none of its publications is usable then
 */
export function decodeEnvelope(bytes: Buffer, hasSubscribers: (key: ChannelKey) => boolean): Envelope {
  checkSize(bytes);
  const reader = new ItemReader(bytes, 0);
  const more = reader.enter(ENVELOPE_FIELDS, "the envelope");
  const version = bytes[reader.at];
  if (version !== ENVELOPE_VERSION && version !== POSITIONED_VERSION) throw unknownVersion(bytes, reader.at);
  reader.skip(1);
  const envelope =
    version === ENVELOPE_VERSION
      ? readFlat(reader, hasSubscribers)
      : readPositioned(bytes, reader, hasSubscribers);
  reader.skip(more);
  reader.end();
  return envelope;
}

function unknownVersion(bytes: Buffer, at: number): Error {
  const { value } = unpackPart(bytes, at);
  if (typeof value === "object" && value !== null) return wrong("the version of the envelope", value);
  const read = `${ENVELOPE_VERSION} and ${POSITIONED_VERSION}`;
  return new PeerError(`envelope version ${quote(value)} is unknown: this node reads ${read}`);
}

function readFlat(reader: ItemReader, hasSubscribers: (key: ChannelKey) => boolean): Envelope {
  const node = readNode(reader);
  const openedAtMs = reader.time();
  const count = reader.list("the list of publications");
  if (count % STRIDE !== 0) throw wrong("the list of publications", count);

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
  const { unreadable, problem } = reader;
  return { node, openedAtMs, publications, unheard, unreadable, problem };
}

function readPositioned(
  bytes: Buffer,
  reader: ItemReader,
  hasSubscribers: (key: ChannelKey) => boolean,
): Envelope {
  const more = reader.enter(HEAD_FIELDS, "the head");
  const node = readNode(reader);
  const openedAtMs = reader.time();
  const keys: string[] = [];
  for (let left = reader.list("the list of channels"); left > 0; left--)
    keys.push(reader.text("a channel key"));
  reader.skip(more);
  const listed = unpackPart(bytes, reader.at);
  reader.skip(1);
  const count = reader.list("the list of items");
  const positions = new BatchPositions(listed.value, count);
  const runs = positions.runs.map((run) => {
    const { channel, epochOrRefusal: epoch, next: first } = run;
    const key = keys[channel - 1];
    checkKey(key);
    if (epoch === "" || epoch.length > EPOCH_CHARACTERS_MAX) throw wrong("an epoch", epoch);
    if (first < 1) throw wrong("an offset", first);
    return { key, run, heard: hasSubscribers(key) };
  });
  const publications: BusPublication[] = [];
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
  const { unreadable, problem } = reader;
  return { node, openedAtMs, publications, unheard, unreadable, problem };
}

function readNode(reader: ItemReader): string {
  const node = reader.text("the node");
  if (node.length > NODE_MAX) throw wrong("the node", node);
  return node;
}

/**
 * The publications of an entry of history, in order; undefined stands for one that cannot be read. Their payloads are
 * views into `bytes`.
 * @throws Error saying what is wrong, where it cannot be told which they are
 */
export function readEntry(bytes: Buffer, key: ChannelKey, epoch: string, first: number, count: number) {
  const reader = new ItemReader(bytes, 0);
  const publications: (BusPublication | undefined)[] = [];
  for (let i = 0; i < count; i++) publications.push(reader.read(key, { offset: first + i, epoch }));
  reader.end();
  const { unreadable, problem } = reader;
  return { publications, unreadable, problem };
}
