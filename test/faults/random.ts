/** Random numbers that a seed repeats. */

export interface Random {
  /** From 0 (included) to 1 (excluded). */
  next(): number;
  /** A whole number from 0 to `below`, excluded. */
  below(below: number): number;
  between(low: number, high: number): number;
  pick<T>(items: readonly T[]): T;
  /** As many different ones. */
  sample<T>(items: readonly T[], count: number): T[];
}

export function createRandom(seed: number): Random {
  // A Weyl sequence, mixed by two multiply-xorshift rounds: 32 bits are plenty for a schedule.
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  const pick = <T>(items: readonly T[]): T => {
    if (items.length === 0) throw new Error("nothing to pick from");
    return items[below(items.length)]!;
  };
  return {
    next,
    below,
    pick,
    between: (low, high) => low + next() * (high - low),
    sample(items, count) {
      const rest = [...items];
      const taken = [];
      while (taken.length < count && rest.length > 0) taken.push(rest.splice(below(rest.length), 1)[0]!);
      return taken;
    },
  };
}
