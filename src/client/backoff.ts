export interface BackoffOptions {
  /** The first delay is at most this long; each later one at most twice the one before. */
  readonly baseMs: number;
  readonly capMs: number;
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

/** A hint is a peer's number: it may not put a client to sleep for good. */
const HINT_MAX_MS = 10 * 60_000;

/**
 * Exponential backoff with full jitter: uniform from 0 to the ceiling, so that
 * clients which lost the same node do not come back in one wave.
 */
export class Backoff {
  /** Delays given since the last reset. */
  attempts = 0;
  readonly #options: BackoffOptions;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** @param hintMs the least delay the server asked for; jitter comes on top @returns whole milliseconds */
  next(hintMs = 0): number {
    const { baseMs, capMs, random } = this.#options;
    const ceilingMs = Math.min(capMs, baseMs * 2 ** this.attempts);
    this.attempts++;
    return Math.round(Math.min(hintMs, HINT_MAX_MS) + random() * ceilingMs);
  }

  reset(): void {
    this.attempts = 0;
  }
}

/** A server's `retryAfterMs`, or undefined for what is not a usable number. */
export function hintOf(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 ? value : undefined;
}
