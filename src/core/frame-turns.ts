/**
 * Shares the event loop between connections: of one that sends many frames at once a few are taken in each
 * turn of the loop, and the others wait while everybody else is served.
 */

/** What part of a second's frames one connection may have taken in a turn, and how many it may at least. */
const TURNS_PER_SECOND = 25;
const LEAST_FRAMES = 16;
/** How long frames that wait are taken in one turn, all connections together. */
const WAITING_MS = 1;

/** Connections that go on after a command in one turn. */
const RESUMED_MAX = 16;
/** Of frames that wait on a node, in bytes: beyond it they are taken as they come, which slows their senders down. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;

/** A connection. */
export interface FrameTaker {
  /** Asks `allow` for each frame that waits; calls `wait` where some have to go on waiting. */
  takeWaiting(): void;
}

export class FrameTurns {
  readonly #most: number;
  /** Waits for commands that were over in this turn. */
  #resumed = 0;
  /** Of frames that wait, of all connections; changed by their PendingFrames. */
  readonly waiting = { bytes: 0 };
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

  /** Whether no more frames may wait for their turn. */
  get full(): boolean {
    return this.waiting.bytes > WAITING_BYTES_MAX;
  }

  /**
   * Whether a connection whose command was over may go on at once. Promises that settle without waiting would
   * otherwise go on and on in one turn.
   */
  mayResume(): boolean {
    if (++this.#resumed === 1) this.#atEndOfTurn();
    return this.#resumed <= RESUMED_MAX;
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
    this.#resumed = 0;
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
