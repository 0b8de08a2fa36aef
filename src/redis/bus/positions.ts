import { quote } from "../../core/errors.js";

/** Publications of one channel that have offsets in a row, or none for one reason. */
export interface Run {
  /** By its number in the batch. */
  readonly channel: number;
  /** Their epoch, or why they have no offset. */
  readonly text: string;
  /** Of the next of them that is asked for; -1: they have none. */
  next: number;
}

/**
 * Where publications stand, as lua/history-append.lua lists it: [[channel, text, first offset, ...], [number of its
 * run, ...]], numbers from 1. To be asked for one after the other.
 */
export class Places {
  readonly runs: readonly Run[];
  readonly #numbers: readonly number[];

  /** @throws Error unless it is such a list of `count` */
  constructor(value: unknown, count: number) {
    const [listed, numbers] = Array.isArray(value) && value.length === 2 ? (value as unknown[]) : [];
    const runs = Array.isArray(listed) ? runsOf(listed) : undefined;
    if (runs === undefined || !Array.isArray(numbers) || numbers.length !== count) {
      throw new Error(`the list of ${count} positions is wrong: ${quote(value)}`);
    }
    for (const number of numbers as unknown[]) {
      if (runs[(number as number) - 1] !== undefined) continue;
      throw new Error(`a position is wrong: ${quote(number)} of ${runs.length} runs`);
    }
    this.runs = runs;
    this.#numbers = numbers as number[];
  }

  /** An index of runs. */
  run(at: number): number {
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
    const [channel, text, next] = listed.slice(i, i + 3);
    if (typeof channel !== "number" || typeof text !== "string" || !Number.isSafeInteger(next))
      return undefined;
    runs.push({ channel, text, next: next as number });
  }
  return runs;
}
