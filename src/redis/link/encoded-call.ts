/**
 * A script's call whose keys and arguments are encoded here, in the form that Redis reads (RESP). Given to ioredis one
 * by one, four of them cost a microsecond, and a batch has two keys for each of its channels, or one for each of its
 * sessions (docs/performance.md).
 */

import { Command } from "ioredis";

import { FrameWriter } from "../../encoding/frame-writer.js";
import type { RedisClient } from "./client.js";
import { knownOrInFull, type Script } from "./scripts.js";

const DOLLAR = 0x24;
const CR_LF = 0x0d0a;

export class EncodedCall {
  readonly #writer = new FrameWriter();
  #key = "";
  #keys = 0;
  #arguments = 0;

  /** Begins a call. @param key  one of its keys: on a Cluster all are in its slot */
  restart(key: string): void {
    this.#writer.restart(0);
    this.#key = key;
    this.#keys = 0;
    this.#arguments = 0;
  }

  /** What encodeArguments() made of `count` keys; keys come before arguments. */
  addKeys(bytes: Uint8Array, count: number): void {
    this.#writer.bytes(bytes);
    this.#keys += count;
  }

  /** A key in two parts: joining them first would make a string that nothing else needs. */
  addKey(prefix: string, rest = ""): void {
    const writer = this.#writer;
    const start = writer.position;
    this.#head(prefix.length + rest.length);
    if (writer.shortAscii(prefix) && writer.shortAscii(rest)) {
      this.#end();
    } else {
      writer.position = start;
      writer.bytes(encodeArguments(prefix + rest));
    }
    this.#keys++;
  }

  add(argument: string | number | Uint8Array): void {
    const bytes = argument instanceof Uint8Array ? argument : Buffer.from(String(argument));
    this.#head(bytes.length);
    this.#writer.bytes(bytes);
    this.#end();
    this.#arguments++;
  }

  #head(length: number): void {
    this.#writer.uint8(DOLLAR);
    this.#writer.digits(length);
    this.#end();
  }

  #end(): void {
    this.#writer.uint16(CR_LF);
  }

  /** Sends the call; another may be begun at once. Strings come back as bytes. Rejects as the client does. */
  async run(redis: RedisClient, { sha1, lua }: Script): Promise<unknown> {
    const key = this.#key;
    const keys = String(this.#keys);
    const count = Buffer.from(`*${3 + this.#keys + this.#arguments}\r\n`);
    const head = Buffer.concat([count, encodeArguments("EVALSHA", sha1, keys)]);
    const rest = this.#writer.written();
    const buffer = spareBuffer(head.length + rest.length);
    const bytes = buffer.subarray(0, head.length + rest.length);
    bytes.set(head);
    bytes.set(rest, head.length);
    const reply = await knownOrInFull(
      () => redis.sendCommand(new EncodedCommand("EVALSHA", key, bytes)),
      () => {
        const inFull = Buffer.concat([
          count,
          encodeArguments("EVAL", lua, keys),
          bytes.subarray(head.length),
        ]);
        return redis.sendCommand(new EncodedCommand("EVAL", key, inFull));
      },
    );
    // Redis has answered, so all of it was sent; after an error it may yet be read.
    if (buffer.length === SPARE_BYTES && spareBuffers.length < SPARES_MAX) spareBuffers.push(buffer);
    return reply;
  }
}

/**
 * Buffers that are used again. New ones are memory outside of V8's heap, which it takes for a reason to look through
 * all of that: at a storm of connections twice as often.
 */
const spareBuffers: Buffer[] = [];
const SPARE_BYTES = 131_072;
const SPARES_MAX = 8;

function spareBuffer(bytes: number): Buffer {
  if (bytes > SPARE_BYTES) return Buffer.allocUnsafeSlow(bytes);
  return spareBuffers.pop() ?? Buffer.allocUnsafeSlow(SPARE_BYTES);
}

export function encodeArguments(...texts: readonly string[]): Buffer {
  return Buffer.from(texts.map((text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`).join(""));
}

class EncodedCommand extends Command {
  readonly #bytes: Buffer;

  constructor(name: "EVALSHA" | "EVAL", key: string, bytes: Buffer) {
    // The key tells a Cluster's client where it belongs.
    super(name, ["", "1", key], { replyEncoding: null });
    this.#bytes = bytes;
  }

  override toWritable(): Buffer {
    return this.#bytes;
  }
}
