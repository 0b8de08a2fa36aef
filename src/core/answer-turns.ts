/**
 * Shares the event loop between those who are sent much at once: pages of history and missed publications of
 * all connections together leave at so many bytes a turn of the loop, in the order in which they were asked for.
 */

/** Of content that is sent in one turn: about a millisecond of the kernel's. A larger answer has a turn of its own. */
const TURN_BYTES = 262_144;

export class AnswerTurns {
  #bytes = 0;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  #immediate: NodeJS.Immediate | undefined;

  /** @returns undefined: an answer of so many bytes may be sent in this turn; else once this resolves */
  take(bytes: number): Promise<void> | undefined {
    if (bytes === 0) return undefined;
    this.#immediate ??= setImmediate(() => this.#endTurn());
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#bytes += bytes;
      return undefined;
    }
    return new Promise((go) => this.#waiting.push({ bytes, go }));
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= TURN_BYTES;
  }

  #endTurn(): void {
    this.#immediate = undefined;
    this.#bytes = 0;
    let count = 0;
    for (const { bytes, go } of this.#waiting) {
      if (!this.#fits(bytes)) break;
      this.#bytes += bytes;
      count++;
      go();
    }
    this.#waiting.splice(0, count);
    if (count > 0) this.#immediate = setImmediate(() => this.#endTurn());
  }
}
