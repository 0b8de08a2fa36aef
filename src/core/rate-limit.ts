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
      this.#bytes = Math.min(
        limits.bytesBurst,
        this.#bytes + Math.floor((elapsedMs * limits.bytesPerSecond) / 1000),
      );
    }
    if (this.#milliMessages < 1000) return "messages";
    if (this.#bytes < bytes) return "bytes";
    this.#milliMessages -= 1000;
    this.#bytes -= bytes;
    return undefined;
  }
}
