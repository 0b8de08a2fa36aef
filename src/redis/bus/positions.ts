import { wrong } from "./item-reader.js";

/** Publications of one channel whose offsets follow each other, or which have none for the same reason. */
export interface Run {
  /** The channel's number in the batch, from 1. */
  readonly channel: number;
  /** Their epoch, or why Redis gave them no offset. */
  readonly epochOrRefusal: string;
  /** The offset that takeOffset gives next; -1 if they have none. */
  next: number;
}

/**
 * The positions of a batch's publications, as lua/history-append.lua lists them:
 *
 *     [[channel, epoch or refusal, first offset, ...], [run of the first publication, run of the second, ...]]
 *
 * Channels and runs are numbered from 1. Positions are taken one after the other, in the batch's order.
 */
export class BatchPositions {
  readonly runs: readonly Run[];
  readonly #numbers: readonly number[];

  /** @throws Error unless it is such a list of `count` */
  constructor(value: unknown, count: number) {
    const [listed, numbers] = Array.isArray(value) && value.length === 2 ? (value as unknown[]) : [];
    const runs = Array.isArray(listed) ? runsOf(listed) : undefined;
    if (runs === undefined || !Array.isArray(numbers) || numbers.length !== count) {
      throw wrong(`the list of ${count} positions`, value);
    }
    for (const number of numbers as unknown[]) {
      if (runs[(number as number) - 1] !== undefined) continue;
      throw wrong(`a position among ${runs.length} runs`, number);
    }
    this.runs = runs;
    this.#numbers = numbers as number[];
  }

  /** @returns the index in `runs` of the run that publication `at` belongs to */
  runOf(at: number): number {
    return this.#numbers[at]! - 1;
  }
}

export function takeOffset(run: Run): number {
  return run.next === -1 ? -1 : run.next++;
}

function runsOf(listed: readonly unknown[]): Run[] | undefined {
  if (listed.length % 3 !== 0) return undefined;
  const runs: Run[] = [];
  for (let i = 0; i < listed.length; i += 3) {
    const [channel, epochOrRefusal, next] = listed.slice(i, i + 3);
    if (typeof channel !== "number" || typeof epochOrRefusal !== "string" || !Number.isSafeInteger(next))
      return undefined;
    runs.push({ channel, epochOrRefusal, next: next as number });
  }
  return runs;
}
