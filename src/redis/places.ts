import { quote } from "../protocol/errors.js";

/**
 * Where publications stand, as lua/history-append.lua lists it: [texts, [offset, number of its text, ...]], numbers
 * from 1. A text is an epoch, which many share; of an offset of -1 it is why there is none.
 */
export class Places {
  readonly #texts: readonly string[];
  readonly #flat: readonly number[];

  /** @throws Error unless it is such a list of `count` */
  constructor(value: unknown, count: number) {
    const [texts, flat] = Array.isArray(value) && value.length === 2 ? (value as unknown[]) : [];
    if (!Array.isArray(texts) || !Array.isArray(flat) || flat.length !== count * 2 || !areTexts(texts)) {
      throw new Error(`the list of ${count} positions is wrong: ${quote(value)}`);
    }
    for (let i = 0; i < flat.length; i += 2) {
      const offset: unknown = flat[i];
      const number: unknown = flat[i + 1];
      if (!Number.isSafeInteger(offset) || texts[(number as number) - 1] === undefined) {
        throw new Error(`a position is wrong: ${quote(offset)}, text ${quote(number)} of ${texts.length}`);
      }
    }
    this.#texts = texts;
    this.#flat = flat as number[];
  }

  offset(at: number): number {
    return this.#flat[at * 2]!;
  }

  text(at: number): string {
    return this.#texts[this.#flat[at * 2 + 1]! - 1]!;
  }
}

function areTexts(values: readonly unknown[]): values is string[] {
  return values.every((value) => typeof value === "string");
}
