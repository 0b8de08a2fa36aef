import type { DroppedFrames } from "./notices.js";
import type { EdgeOptions } from "./options.js";

export interface PendingFrame {
  readonly bytes: Uint8Array;
  readonly binary: boolean;
  /** Of all frames of its connection; the first is 1. */
  readonly number: number;
}

/** Frames that wait for a command of the same connection, or for their turn, in their order. */
export class PendingFrames {
  /** Of the frames of all connections. */
  readonly #total: { bytes: number };
  readonly #frames: (PendingFrame & { readonly behindCommand: boolean })[] = [];
  /** Of those that came while a command waited. */
  #count = 0;
  #bytes = 0;

  constructor(total: { bytes: number }) {
    this.#total = total;
  }

  /** Keeps a copy of a frame that is to wait for its turn. */
  push(frame: PendingFrame): void {
    this.#push(frame, false);
  }

  /** The same for one that came while a command waited. @returns false: no more may wait, and nothing was kept */
  pushBehindCommand(
    frame: PendingFrame,
    { maxPendingFrames, maxPendingBytes }: Pick<EdgeOptions, "maxPendingFrames" | "maxPendingBytes">,
  ): boolean {
    if (this.#count >= maxPendingFrames || this.#bytes + frame.bytes.length > maxPendingBytes) return false;
    this.#count++;
    this.#bytes += frame.bytes.length;
    this.#push(frame, true);
    return true;
  }

  #push({ bytes, binary, number }: PendingFrame, behindCommand: boolean): void {
    this.#frames.push({ bytes: Buffer.from(bytes), binary, number, behindCommand });
    this.#total.bytes += bytes.length;
  }

  /** From the first that waits to the last; those between that do not were told as dropped. */
  numbers(): DroppedFrames | undefined {
    const [first] = this.#frames;
    return first && { from: first.number, to: this.#frames.at(-1)!.number };
  }

  /** Forgets them. */
  clear(): void {
    while (this.shift() !== undefined);
  }

  shift(): PendingFrame | undefined {
    const frame = this.#frames.shift();
    this.#total.bytes -= frame?.bytes.length ?? 0;
    if (frame?.behindCommand === true) {
      this.#count--;
      this.#bytes -= frame.bytes.length;
    }
    return frame;
  }
}
