import type { EdgeOptions } from "./options.js";

export interface Frame {
  readonly bytes: Uint8Array;
  readonly binary: boolean;
}

/** Frames that arrived while a command of the same connection was waiting, in their order. */
export class PendingFrames {
  readonly #frames: Frame[] = [];
  #bytes = 0;

  get size(): number {
    return this.#frames.length;
  }

  /** Keeps a copy. @returns false: no more may wait, and nothing was kept */
  push(
    bytes: Uint8Array,
    binary: boolean,
    { maxPendingFrames, maxPendingBytes }: Pick<EdgeOptions, "maxPendingFrames" | "maxPendingBytes">,
  ): boolean {
    if (this.#frames.length >= maxPendingFrames || this.#bytes + bytes.length > maxPendingBytes) return false;
    this.#frames.push({ bytes: Buffer.from(bytes), binary });
    this.#bytes += bytes.length;
    return true;
  }

  shift(): Frame | undefined {
    const frame = this.#frames.shift();
    this.#bytes -= frame?.bytes.length ?? 0;
    return frame;
  }
}
