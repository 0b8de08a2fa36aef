import { createCipheriv, randomBytes, type Cipher } from "node:crypto";
import { setBounded } from "./bounded-map.js";

/** Of Number.MAX_SAFE_INTEGER, to the base 36. */
const COUNT_DIGITS_MAX = 11;
const SECRET_BYTES = 16;
/** Made at a time: a call for each secret would cost more than the rest of it. */
const SECRETS_IN_BLOCK = 256;
/** Secrets of the newest connections, which are asked for twice, are at hand: 64 kB. */
const BLOCKS_KEPT = 16;

/** Of the number that stands for this start of the node: beyond it not every whole number is exact. */
const START_BITS = 48;
const COUNT = /^\d{1,15}$/;

/**
 * Ids of a node's connections, `<node>.<start><count>`, unique over nodes and over the restarts of one
 * that keeps its name; and the secret of each, AES-128 of its count under a key that this process drew
 * for itself and tells nobody: a secret kept with each connection would be 48 bytes of it.
 *
 * Each has a number too, `<start>.<count>`, for protocols whose ids are numbers: the start is drawn at random, 48 bits.
 */
export class Identifiers {
  readonly #prefixLength: number;
  /** Out of one buffer, a flat string: a concatenation would keep its parts alive beside it. */
  readonly #text: Buffer;
  #count = 0;
  /** One block of AES after the other, each alone: no two counts are alike. */
  readonly #cipher: Cipher = createCipheriv("aes-128-ecb", randomBytes(SECRET_BYTES), null).setAutoPadding(
    false,
  );
  readonly #blocks = new Map<number, Buffer>();
  /** With the dot. */
  readonly #start = `${randomBytes(START_BITS / 8).readUIntBE(0, START_BITS / 8)}.`;

  constructor(nodeId: string) {
    const prefix = `${nodeId}.${Math.floor(Date.now() / 1000).toString(36)}`;
    this.#text = Buffer.alloc(prefix.length + COUNT_DIGITS_MAX);
    this.#prefixLength = this.#text.write(prefix, "latin1");
  }

  next(): string {
    const digits = this.#text.write((this.#count++).toString(36), this.#prefixLength, "latin1");
    return this.#text.toString("latin1", 0, this.#prefixLength + digits);
  }

  /** @param id  as next() made it @returns two whole numbers with a dot between, as no other connection of the fleet has */
  numberOf(id: string): string {
    return `${this.#start}${Number.parseInt(id.slice(this.#prefixLength), 36)}`;
  }

  /** @param number  as numberOf() made it @returns undefined: it is none of this start of the node */
  idOf(number: string): string | undefined {
    // First what is cheap: other nodes' are asked for with each publication that excludes one.
    if (!number.startsWith(this.#start)) return undefined;
    const count = number.slice(this.#start.length);
    if (!COUNT.test(count)) return undefined;
    return this.#text.toString("latin1", 0, this.#prefixLength) + Number(count).toString(36);
  }

  /** @param id  as next() made it @returns 128 bits in base64url: 22 characters, none of them a dot */
  secretOf(id: string): string {
    const count = Number.parseInt(id.slice(this.#prefixLength), 36);
    const block = Math.floor(count / SECRETS_IN_BLOCK);
    const secrets =
      this.#blocks.get(block) ?? setBounded(this.#blocks, BLOCKS_KEPT, block, this.#draw(block));
    const at = (count % SECRETS_IN_BLOCK) * SECRET_BYTES;
    return secrets.toString("base64url", at, at + SECRET_BYTES);
  }

  #draw(block: number): Buffer {
    const counts = Buffer.alloc(SECRETS_IN_BLOCK * SECRET_BYTES);
    for (let i = 0; i < SECRETS_IN_BLOCK; i++) {
      counts.writeDoubleBE(block * SECRETS_IN_BLOCK + i, i * SECRET_BYTES);
    }
    return this.#cipher.update(counts);
  }
}

/** @returns the node that a connection is or was on; "" for what is no connection's id */
export function nodeOfConnection(connectionId: string): string {
  return connectionId.slice(0, Math.max(connectionId.lastIndexOf("."), 0));
}
