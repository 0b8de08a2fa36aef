import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { setBounded } from "./bounded-map.js";

/** Of Number.MAX_SAFE_INTEGER, to the base 36. */
const COUNT_DIGITS_MAX = 11;
/** Made at a time: a call for each secret would cost more than the rest of it. */
const SECRETS_IN_BLOCK = 256;
/** Secrets of the newest connections, which are asked for twice, are at hand: 64 kB. */
const BLOCKS_KEPT = 16;

/** Of the number that stands for this start of the node. */
const START_BYTES = 4;
/** AES's: of a secret, and of what a connection's number says. */
const BLOCK_BYTES = 16;
const BLOCK_DIGITS = /^(?:0|[1-9]\d{0,38})$/;

/**
 * Ids of a node's connections, `<node>.<start><count>`, unique over nodes and over the restarts of one
 * that keeps its name; and the secret of each, AES-128 of its count under a key that this process drew
 * for itself and tells nobody: a secret kept with each connection would be 48 bytes of it.
 *
 * Each has a number too, `<start>.<count>`, for protocols whose ids are numbers. The start is drawn at random, 32 bits;
 * the count is under AES too, 128 bits: whoever knows its own number could else have its neighbours passed over.
 */
export class Identifiers {
  readonly #prefixLength: number;
  /** Out of one buffer, a flat string: a concatenation would keep its parts alive beside it. */
  readonly #text: Buffer;
  #count = 0;
  /** One block of AES after the other, each alone: no two counts are alike. */
  readonly #cipher;
  readonly #decipher;
  readonly #blocks = new Map<number, Buffer>();
  /** With the dot. */
  readonly #start = `${randomBytes(START_BYTES).readUInt32BE()}.`;

  constructor(nodeId: string) {
    const prefix = `${nodeId}.${Math.floor(Date.now() / 1000).toString(36)}`;
    this.#text = Buffer.alloc(prefix.length + COUNT_DIGITS_MAX);
    this.#prefixLength = this.#text.write(prefix, "latin1");
    const key = randomBytes(BLOCK_BYTES);
    this.#cipher = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
    this.#decipher = createDecipheriv("aes-128-ecb", key, null).setAutoPadding(false);
  }

  next(): string {
    const digits = this.#text.write((this.#count++).toString(36), this.#prefixLength, "latin1");
    return this.#text.toString("latin1", 0, this.#prefixLength + digits);
  }

  /** @param id  as next() made it @returns two whole numbers with a dot between, as no other connection of the fleet has */
  numberOf(id: string): string {
    const block = this.#cipher.update(numberBlock(this.#countOf(id)));
    return this.#start + BigInt(`0x${block.toString("hex")}`).toString();
  }

  /** @param number  as numberOf() made it @returns undefined: it is none of this start of the node */
  idOf(number: string): string | undefined {
    // First what is cheap: other nodes' are asked for with each publication that excludes one.
    if (!number.startsWith(this.#start)) return undefined;
    const digits = number.slice(this.#start.length);
    if (!BLOCK_DIGITS.test(digits)) return undefined;
    const hex = BigInt(digits)
      .toString(16)
      .padStart(BLOCK_BYTES * 2, "0");
    if (hex.length > BLOCK_BYTES * 2) return undefined;
    const block = this.#decipher.update(Buffer.from(hex, "hex"));
    const count = -1 - block.readDoubleBE();
    if (!(count >= 0 && count < this.#count) || !block.equals(numberBlock(count))) return undefined;
    return this.#text.toString("latin1", 0, this.#prefixLength) + count.toString(36);
  }

  #countOf(id: string): number {
    return Number.parseInt(id.slice(this.#prefixLength), 36);
  }

  /** @param id  as next() made it @returns 128 bits in base64url: 22 characters, none of them a dot */
  secretOf(id: string): string {
    const count = this.#countOf(id);
    const block = Math.floor(count / SECRETS_IN_BLOCK);
    const secrets =
      this.#blocks.get(block) ?? setBounded(this.#blocks, BLOCKS_KEPT, block, this.#draw(block));
    const at = (count % SECRETS_IN_BLOCK) * BLOCK_BYTES;
    return secrets.toString("base64url", at, at + BLOCK_BYTES);
  }

  #draw(block: number): Buffer {
    const counts = Buffer.alloc(SECRETS_IN_BLOCK * BLOCK_BYTES);
    for (let i = 0; i < SECRETS_IN_BLOCK; i++) {
      counts.writeDoubleBE(block * SECRETS_IN_BLOCK + i, i * BLOCK_BYTES);
    }
    return this.#cipher.update(counts);
  }
}

/** What is enciphered for a connection's number: below zero, so that it is nobody's secret. */
function numberBlock(count: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.writeDoubleBE(-1 - count);
  return block;
}

/** @returns the node that a connection is or was on; "" for what is no connection's id */
export function nodeOfConnection(connectionId: string): string {
  return connectionId.slice(0, Math.max(connectionId.lastIndexOf("."), 0));
}
