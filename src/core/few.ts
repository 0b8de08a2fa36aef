/**
 * Sets that mostly hold one item, of which a node holds very many: nothing, the item itself or, with
 * the second, a Set. An object around it would be 32 bytes for each, a Set's table 120.
 */
export type Few<T extends object | string> = undefined | T | Set<T>;

const NONE: readonly never[] = [];

export function size<T extends object | string>(few: Few<T>): number {
  return few instanceof Set ? few.size : Number(few !== undefined);
}

export function has<T extends object | string>(few: Few<T>, item: T): boolean {
  return few instanceof Set ? few.has(item) : few === item;
}

/** @returns what holds the item too, to be kept in place of what was given */
export function add<T extends object | string>(few: Few<T>, item: T): Few<T> {
  if (few instanceof Set) return few.add(item);
  return few === undefined || few === item ? item : new Set([few, item]);
}

/** @returns what no longer holds the item, to be kept in place of what was given; undefined: it was the last */
export function remove<T extends object | string>(few: Few<T>, item: T): Few<T> {
  if (!(few instanceof Set)) return few === item ? undefined : few;
  few.delete(item);
  return few.size === 0 ? undefined : few;
}

/** Of more than one item those that are added or removed meanwhile are seen, as a Set's. */
export function items<T extends object | string>(few: Few<T>): Iterable<T> {
  if (few instanceof Set) return few;
  return few === undefined ? NONE : [few];
}
