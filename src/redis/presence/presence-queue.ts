/** What a node has yet to write of its members in a shard, and what they show. */

/** lua/presence-step.lua says what each means. */
type Sign = "+" | "*" | "~" | "-" | "?" | "=";

interface Item {
  readonly entry: string;
  readonly sign: Sign;
  /** undefined: not told with it; empty: there is none. */
  readonly info: string | undefined;
}

/** Taken off the queue to be written in one step. */
export interface PresenceBatch {
  readonly items: readonly Item[];
  /** As the script takes them. */
  readonly texts: readonly string[];
}

export class PresenceQueue {
  readonly #grew: () => void;
  /** The last sign wins; one per entry, so bounded by the entries that were or are to be written. */
  readonly #signs = new Map<string, Sign>();
  /** Joins that wait for another try: Redis may have them. */
  readonly #tried = new Set<string>();
  /** By entry: of this node's members that show info; empty until it is written that one shows none any more. */
  readonly #infos = new Map<string, string>();
  /** By entry, until they are written: of joins that may be refused, the users that a channel has then. */
  readonly #usersMost = new Map<string, number>();

  /** @param grew  called whenever something is to be written */
  constructor(grew: () => void) {
    this.#grew = grew;
  }

  get size(): number {
    return this.#signs.size;
  }

  /** Whether members show info, or one shows none any more. */
  get hasInfos(): boolean {
    return this.#infos.size > 0;
  }

  /** @param usersMost  where the member may be refused */
  join(entry: string, info: string | undefined, usersMost?: number): void {
    if (info !== undefined) this.#infos.set(entry, info);
    // A leave that waits means that the record has the entry: it is told only if it lapsed there.
    const waits = this.#signs.get(entry) === "-";
    // What it showed there is not known any more.
    if (waits && info === undefined) this.#infos.set(entry, "");
    if (usersMost !== undefined) this.#usersMost.set(entry, usersMost);
    this.#put(entry, waits ? "*" : "+");
  }

  /** Whether a join that may be refused is yet to be written. */
  isEntering(entry: string): boolean {
    return this.#usersMost.has(entry);
  }

  /** It was not let in. */
  refused(entry: string): void {
    this.#infos.delete(entry);
    // Of a step that failed, which Redis took all the same.
    if (this.#signs.get(entry) === "+") this.#signs.delete(entry);
  }

  /** The member shows other info from now on, or none. */
  update(entry: string, info: string | undefined): void {
    this.#infos.set(entry, info ?? "");
    const sign = this.#signs.get(entry);
    if (sign !== "+" && sign !== "~") this.#put(entry, "*");
  }

  leave(entry: string): void {
    this.#infos.delete(entry);
    this.#usersMost.delete(entry);
    // Never sent: there is nothing to take back. So churn while Redis is away queues nothing.
    if (this.#signs.get(entry) === "+" && !this.#tried.has(entry)) this.#signs.delete(entry);
    else this.#put(entry, "-");
  }

  refresh(entry: string): void {
    if (!this.#signs.has(entry)) this.#put(entry, this.#infos.has(entry) ? "?" : "*");
  }

  /** After an outage, or if `lost` the loss of the record. */
  writeAgain(entry: string, lost: boolean): void {
    const sign = this.#signs.get(entry);
    if (sign === "+") return;
    if (lost) this.#put(entry, "~");
    // Its info waits to be written.
    else if (sign !== "*" && sign !== "=") this.#put(entry, this.#infos.has(entry) ? "?" : "*");
  }

  /** The record does not have these members, whose infos were not sent along. */
  writeMissing(entries: readonly string[]): void {
    for (const entry of entries) {
      if (this.#infos.has(entry) && !this.#signs.has(entry)) this.#put(entry, "*");
    }
  }

  /** The record has lost the infos alone. */
  writeInfosAgain(): void {
    for (const [entry, info] of this.#infos) {
      if (info !== "" && (this.#signs.get(entry) ?? "?") === "?") this.#put(entry, "=");
    }
  }

  #put(entry: string, sign: Sign): void {
    this.#signs.set(entry, sign);
    this.#grew();
  }

  /** Takes the oldest: at most so many, and about so many characters. */
  take(itemsMax: number, charactersMax: number): PresenceBatch {
    const items: Item[] = [];
    const texts: string[] = [];
    let characters = 0;
    for (const [entry, sign] of this.#signs) {
      if (items.length >= itemsMax || characters >= charactersMax) break;
      const info = sign === "?" || sign === "-" ? undefined : this.#infos.get(entry);
      const usersMost = sign === "+" ? this.#usersMost.get(entry) : undefined;
      const start = usersMost === undefined ? sign : `&${usersMost} `;
      const text = info === undefined ? start + entry : `${start}${entry}\n${info}`;
      items.push({ entry, sign, info });
      texts.push(text);
      characters += text.length;
      this.#signs.delete(entry);
    }
    return { items, texts };
  }

  written({ items }: PresenceBatch): void {
    if (this.#tried.size > 0) for (const { entry } of items) this.#tried.delete(entry);
    if (this.#usersMost.size > 0) for (const { entry } of items) this.#usersMost.delete(entry);
    if (this.#infos.size === 0) return;
    for (const { entry, info } of items) {
      if (info === "" && this.#infos.get(entry) === "") this.#infos.delete(entry);
    }
  }

  /** They may be written or not: written twice is as good as once. */
  putBack({ items }: PresenceBatch): void {
    for (const { entry, sign } of items) {
      const waiting = this.#signs.get(entry);
      if (sign === "-" && waiting === "+") {
        // The record may still have what it showed.
        if (!this.#infos.has(entry)) this.#infos.set(entry, "");
        continue;
      }
      // A refresh that came meanwhile says less.
      if (waiting !== undefined && waiting !== "?") continue;
      this.#signs.set(entry, sign);
      if (sign === "+") this.#tried.add(entry);
    }
  }
}
