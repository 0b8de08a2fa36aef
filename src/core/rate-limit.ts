export interface RateLimits {
  readonly messagesPerSecond: number;
  readonly messagesBurst: number;
  readonly bytesPerSecond: number;
  readonly bytesBurst: number;
}

/**
 * Two token buckets, messages and bytes, of one connection. All fields are small
 * integers (thousandths of a message, bytes, milliseconds), so that a
 * connection's limiter costs one small object.
 */
export class RateLimit {
  #milliMessages: number;
  #bytes: number;
  /** What the last refill left over: thousandths of a byte, or a low rate would never add up to one. */
  #milliBytes = 0;
  #atMs: number;

  constructor(limits: RateLimits, nowMs: number) {
    this.#milliMessages = limits.messagesBurst * 1000;
    this.#bytes = limits.bytesBurst;
    this.#atMs = Math.floor(nowMs);
  }

  /** @returns which limit this frame is over, having taken nothing, or undefined */
  take(limits: RateLimits, bytes: number, nowMs: number): "messages" | "bytes" | undefined {
    const elapsedMs = Math.floor(nowMs) - this.#atMs;
    if (elapsedMs > 0) {
      this.#atMs += elapsedMs;
      this.#milliMessages = Math.min(
        limits.messagesBurst * 1000,
        this.#milliMessages + elapsedMs * limits.messagesPerSecond,
      );
      const milliBytes = this.#milliBytes + elapsedMs * limits.bytesPerSecond;
      this.#milliBytes = milliBytes % 1000;
      this.#bytes = Math.min(limits.bytesBurst, this.#bytes + Math.floor(milliBytes / 1000));
    }
    if (this.#milliMessages < 1000) return "messages";
    if (this.#bytes < bytes) return "bytes";
    this.#milliMessages -= 1000;
    this.#bytes -= bytes;
    return undefined;
  }
}
