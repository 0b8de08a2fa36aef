/** Which sequences arrived: what was lost, came twice or out of order. */

interface Gap {
  from: number;
  to: number;
}

/**
 * A slot is one stream at one subscriber; its sequences count from 0. In order it costs one comparison;
 * everything else is the exception and may be slow.
 */
export class Ledger {
  readonly #next: Float64Array;
  readonly #gaps = new Map<number, Gap[]>();
  duplicated = 0;
  reordered = 0;

  constructor(slots: number) {
    this.#next = new Float64Array(slots);
  }

  accept(slot: number, sequence: number): void {
    const next = this.#next[slot];
    if (sequence === next) this.#next[slot] = sequence + 1;
    else this.#acceptOutOfOrder(slot, sequence, next ?? 0);
  }

  /** How many of the first `sent` sequences of the slot did not arrive. */
  missing(slot: number, sent: number): number {
    let missing = Math.max(0, sent - this.#next[slot]!);
    for (const gap of this.#gaps.get(slot) ?? []) missing += gap.to - gap.from;
    return missing;
  }

  #acceptOutOfOrder(slot: number, sequence: number, next: number): void {
    const gaps = this.#gaps.get(slot) ?? [];
    if (sequence > next) {
      gaps.push({ from: next, to: sequence });
      this.#gaps.set(slot, gaps);
      this.#next[slot] = sequence + 1;
      return;
    }
    const at = gaps.findIndex(({ from, to }) => from <= sequence && sequence < to);
    if (at === -1) {
      this.duplicated++;
      return;
    }
    this.reordered++;
    const { from, to } = gaps[at]!;
    const left = [
      { from, to: sequence },
      { from: sequence + 1, to },
    ].filter((gap) => gap.from < gap.to);
    gaps.splice(at, 1, ...left);
  }
}
