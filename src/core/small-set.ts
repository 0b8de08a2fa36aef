/**
 * Sets that mostly hold one item, of which a node holds very many: nothing, the item itself or, with
 * the second, a Set. An object around it would be 32 bytes for each, a Set's table 120.
 */
export type SmallSet<T extends object | string> = undefined | T | Set<T>;

const NONE: readonly never[] = [];

export function size<T extends object | string>(set: SmallSet<T>): number {
  return set instanceof Set ? set.size : Number(set !== undefined);
}

export function has<T extends object | string>(set: SmallSet<T>, item: T): boolean {
  return set instanceof Set ? set.has(item) : set === item;
}

/** @returns what holds the item too, to be kept in place of what was given */
export function add<T extends object | string>(set: SmallSet<T>, item: T): SmallSet<T> {
  if (set instanceof Set) return set.add(item);
  return set === undefined || set === item ? item : new Set([set, item]);
}

/** @returns what no longer holds the item, to be kept in place of what was given; undefined: it was the last */
export function remove<T extends object | string>(set: SmallSet<T>, item: T): SmallSet<T> {
  if (!(set instanceof Set)) return set === item ? undefined : set;
  set.delete(item);
  return set.size === 0 ? undefined : set;
}

/** Of more than one item those that are added or removed meanwhile are seen, as a Set's. */
export function items<T extends object | string>(set: SmallSet<T>): Iterable<T> {
  if (set instanceof Set) return set;
  return set === undefined ? NONE : [set];
}
