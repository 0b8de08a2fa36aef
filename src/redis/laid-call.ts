/**
 * A script's call whose keys and arguments are laid as Redis reads them. Given to ioredis one by one, four of them
 * cost a microsecond, and a batch has two keys for each of its channels.
 */

import { Command } from "ioredis";

import { FrameWriter } from "../protocol/frame-writer.js";
import type { RedisClient } from "./client.js";
import { knownOrInFull, type Script } from "./scripts.js";

export class LaidCall {
  readonly #writer = new FrameWriter();
  #key = "";
  #keys = 0;
  #arguments = 0;

  /** @param key  one of its keys: on a Cluster all are in its slot */
  restart(key: string): void {
    this.#writer.restart(0);
    this.#key = key;
    this.#keys = 0;
    this.#arguments = 0;
  }

  /** What laid() made of `count` keys; keys come before arguments. */
  addKeys(bytes: Uint8Array, count: number): void {
    this.#writer.bytes(bytes);
    this.#keys += count;
  }

  add(argument: string | Uint8Array): void {
    const bytes = typeof argument === "string" ? Buffer.from(argument) : argument;
    this.#writer.ascii(`$${bytes.length}\r\n`);
    this.#writer.bytes(bytes);
    this.#writer.ascii("\r\n");
    this.#arguments++;
  }

  /** Ends it: another may be laid at once. Strings come back as bytes. Rejects as the client does. */
  run(redis: RedisClient, { sha1, lua }: Script): Promise<unknown> {
    const key = this.#key;
    const parts = 3 + this.#keys + this.#arguments;
    const keys = laid(String(this.#keys));
    const head = Buffer.concat([Buffer.from(`*${parts}\r\n`), laid("EVALSHA", sha1), keys]);
    const bytes = Buffer.concat([head, this.#writer.written()]);
    return knownOrInFull(
      () => redis.sendCommand(new LaidCommand("EVALSHA", key, bytes)),
      () => {
        const inFull = Buffer.concat([Buffer.from(`*${parts}\r\n`), laid("EVAL", lua), keys]);
        const command = new LaidCommand("EVAL", key, Buffer.concat([inFull, bytes.subarray(head.length)]));
        return redis.sendCommand(command);
      },
    );
  }
}

export function laid(...texts: readonly string[]): Buffer {
  return Buffer.from(texts.map((text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`).join(""));
}

class LaidCommand extends Command {
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
