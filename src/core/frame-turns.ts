/**
 * Shares the event loop between connections: of one that sends many frames at once a few are taken in each
 * turn of the loop, and the others wait while everybody else is served.
 */

/** What part of a second's frames one connection may have taken in a turn, and how many it may at least. */
const TURNS_PER_SECOND = 25;
const LEAST_FRAMES = 16;
/** How long frames that wait are taken in one turn, all connections together. */
const WAITING_MS = 1;

/** A connection. */
export interface FrameTaker {
  /** Asks `allow` for each frame that waits; calls `wait` where some have to go on waiting. */
  takeWaiting(): void;
}

export class FrameTurns {
  readonly #most: number;
  /** Who sent the last frame, and how many it sent in a row in this turn. */
  #last: FrameTaker | undefined;
  #inRow = 0;
  readonly #waiting = new Set<FrameTaker>();
  #immediate: NodeJS.Immediate | undefined;

  /** @param messagesPerSecond  that one connection may send */
  constructor(messagesPerSecond: number) {
    this.#most = Math.max(LEAST_FRAMES, Math.ceil(messagesPerSecond / TURNS_PER_SECOND));
  }

  /** Whether a frame that `taker` has is to be taken now. A socket's frames of one read come in a row. */
  allow(taker: FrameTaker): boolean {
    if (taker !== this.#last) {
      this.#last = taker;
      this.#inRow = 1;
      return true;
    }
    if (++this.#inRow === 2) this.#atEndOfTurn();
    return this.#inRow <= this.#most;
  }

  /** `takeWaiting` will be called in a later turn. */
  wait(taker: FrameTaker): void {
    this.#waiting.add(taker);
    this.#atEndOfTurn();
  }

  #atEndOfTurn(): void {
    this.#immediate ??= setImmediate(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#immediate = undefined;
    this.#last = undefined;
    const untilMs = performance.now() + WAITING_MS;
    // Those that have to wait again are added behind the others: one look at each is enough for a turn.
    let looks = this.#waiting.size;
    for (const taker of this.#waiting) {
      this.#waiting.delete(taker);
      taker.takeWaiting();
      this.#last = undefined;
      if (--looks === 0 || performance.now() >= untilMs) break;
    }
    if (this.#waiting.size > 0) this.#atEndOfTurn();
  }
}
