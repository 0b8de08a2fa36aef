/**
 * Cuts a list into lists of at most `most` items and about `mostCharacters` in
 * all: one item larger than that has a list of its own.
 */
export function chunks<T>(
  items: readonly T[],
  most: number,
  mostCharacters: number,
  characters: (item: T) => number,
): T[][] {
  const lists: T[][] = [];
  let list: T[] = [];
  let held = 0;
  for (const item of items) {
    const size = characters(item);
    if (list.length > 0 && (list.length >= most || held + size > mostCharacters)) {
      lists.push(list);
      list = [];
      held = 0;
    }
    list.push(item);
    held += size;
  }
  if (list.length > 0) lists.push(list);
  return lists;
}
