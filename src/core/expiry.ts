import { SmallSet } from "./small-set.js";

/**
 * Ends what runs out at a given second: one timer for all. Whoever is asked to
 * expire checks whether that still holds, so that a renewal need not cancel.
 */
export class Expiry<Member extends object | string> {
  readonly #due = new Map<number, SmallSet<Member>>();
  readonly #expire: (member: Member) => void;
  readonly #nowSeconds: () => number;
  #timer: NodeJS.Timeout | undefined;

  constructor(expire: (member: Member) => void, nowSeconds = () => Date.now() / 1000) {
    this.#expire = expire;
    this.#nowSeconds = nowSeconds;
  }

  start(): void {
    this.#timer = setInterval(() => this.check(), 1000);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  at(second: number, member: Member): void {
    const due = Math.ceil(second);
    let members = this.#due.get(due);
    if (members === undefined) {
      members = new SmallSet();
      this.#due.set(due, members);
    }
    members.add(member);
  }

  cancel(second: number, member: Member): void {
    const due = Math.ceil(second);
    const members = this.#due.get(due);
    if (members?.delete(member) === true && members.size === 0) this.#due.delete(due);
  }

  check(): void {
    const now = this.#nowSeconds();
    for (const [second, members] of this.#due) {
      if (second > now) continue;
      this.#due.delete(second);
      for (const member of members) this.#expire(member);
    }
  }
}
