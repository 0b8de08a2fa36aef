/** A growing buffer that one codec writes its frames into, over and over. */

const INITIAL_BYTES = 16_384;
/** A buffer that one huge frame made larger than this is let go of afterwards. */
const KEEP_BYTES = 1_048_576;

export class FrameWriter {
  position = 0;
  #buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);

  ascii(text: string): void {
    this.#reserve(text.length);
    this.position += this.#buffer.write(text, this.position, "latin1");
  }

  utf8(text: string): void {
    // A UTF-16 unit is at most three bytes of UTF-8.
    this.#reserve(text.length * 3);
    this.position += this.#buffer.write(text, this.position, "utf8");
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  uint8(value: number): void {
    this.#reserve(1);
    this.#buffer[this.position++] = value;
  }

  uint16(value: number): void {
    this.#reserve(2);
    this.position = this.#buffer.writeUInt16BE(value, this.position);
  }

  uint32(value: number): void {
    this.#reserve(4);
    this.position = this.#buffer.writeUInt32BE(value, this.position);
  }

  float64(value: number): void {
    this.#reserve(8);
    this.position = this.#buffer.writeDoubleBE(value, this.position);
  }

  /** What was written since the start: valid until the next write. */
  written(): Uint8Array {
    return this.#buffer.subarray(0, this.position);
  }

  #reserve(bytes: number): void {
    const needed = this.position + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.position);
    this.#buffer = larger;
  }

  /** Starts a new frame at `from`, keeping what stands before it; 0 also lets go of an outgrown buffer. */
  restart(from: number): void {
    if (from === 0 && this.#buffer.length > KEEP_BYTES) this.#buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.position = from;
  }
}
