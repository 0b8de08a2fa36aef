import * as smallSet from "./small-set.js";

/**
 * Ends what runs out at a given second: one timer for all. Whoever is asked to
 * expire checks whether that still holds, so that a renewal need not cancel.
 */
export class Expiry<Member extends object | string> {
  readonly #due = new Map<number, smallSet.SmallSet<Member>>();
  readonly #expire: (member: Member) => void;
  readonly #nowSeconds: () => number;
  #started = false;
  /** Only while there is something to wait for: an idle process is not woken up for nothing. */
  #timer: NodeJS.Timeout | undefined;

  constructor(expire: (member: Member) => void, nowSeconds = () => Date.now() / 1000) {
    this.#expire = expire;
    this.#nowSeconds = nowSeconds;
  }

  start(): void {
    this.#started = true;
    this.#run();
  }

  stop(): void {
    this.#started = false;
    this.#run();
  }

  at(second: number, member: Member): void {
    const due = Math.ceil(second);
    this.#due.set(due, smallSet.add(this.#due.get(due), member));
    if (this.#timer === undefined) this.#run();
  }

  cancel(second: number, member: Member): void {
    const due = Math.ceil(second);
    const left = smallSet.remove(this.#due.get(due), member);
    if (left === undefined) this.#due.delete(due);
    else this.#due.set(due, left);
  }

  /** In place of a second at which there is nothing more to expect of the member; undefined: of none. */
  move(from: number | undefined, to: number | undefined, member: Member): void {
    if (from !== undefined) this.cancel(from, member);
    if (to !== undefined) this.at(to, member);
  }

  check(): void {
    const now = this.#nowSeconds();
    for (const [second, members] of this.#due) {
      if (second > now) continue;
      this.#due.delete(second);
      for (const member of smallSet.items(members)) this.#expire(member);
    }
    if (this.#due.size === 0) this.#run();
  }

  #run(): void {
    if (this.#started && this.#due.size > 0) {
      this.#timer ??= setInterval(() => this.check(), 1000);
    } else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }
}
