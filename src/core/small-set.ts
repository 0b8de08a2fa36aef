/**
 * A set that mostly holds one item. A Set's table is 120 bytes from the first item on, which a node
 * that holds very many sets does not have; this one makes a Set with the second.
 */
export class SmallSet<T extends object | string> {
  #held: T | Set<T> | undefined;

  get size(): number {
    return this.#held instanceof Set ? this.#held.size : Number(this.#held !== undefined);
  }

  has(item: T): boolean {
    return this.#held instanceof Set ? this.#held.has(item) : this.#held === item;
  }

  add(item: T): void {
    if (this.#held instanceof Set) this.#held.add(item);
    else if (this.#held === undefined) this.#held = item;
    else if (this.#held !== item) this.#held = new Set([this.#held, item]);
  }

  delete(item: T): boolean {
    if (this.#held instanceof Set) return this.#held.delete(item);
    if (this.#held !== item) return false;
    this.#held = undefined;
    return true;
  }

  /** As a Set's: what is added or deleted meanwhile is seen. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    if (this.#held instanceof Set) yield* this.#held;
    else if (this.#held !== undefined) yield this.#held;
  }
}
