/**
 * One channel with history, as one node delivers it: every publication once, in
 * order, or a gap that is told.
 *
 * D is the position up to which this node has handed the channel to its topic.
 * What comes from the bus at or below D is dropped, the next after D is
 * delivered, and anything else makes the node read what lies between from
 * history first. A subscriber who asks from a position gets history up to D and
 * joins the topic in the same turn of the loop, so nothing falls between.
 *
 * Only history is believed about epochs: a read that was sent after a
 * publication came in shows a state at least as new as that publication.
 */

import type { Position } from "./publication.js";
import type { BusPublication, HistoryPage } from "./broker.js";

/** A publication with a position; its bytes are its own. */
export type Positioned = BusPublication & { readonly position: Position };

export interface FeedPorts {
  /** What follows `since` in history, oldest first, and the channel's top. Nothing follows a position of another epoch. */
  read(since: Position): Promise<HistoryPage>;
  /** The channel's top. */
  top(): Promise<Position>;
  /** The newest publication in history alone, if there is any, and the channel's top. */
  last(): Promise<HistoryPage>;
  /** Called before a subscriber is sent what it missed. undefined: it may be now. */
  turn(missed: readonly BusPublication[]): Promise<void> | undefined;
  /** To all who joined. */
  deliver(publication: Positioned): void;
  /** To all who joined: what lay before `position` and was not delivered is lost. */
  gap(position: Position): void;
  /** A publication of an epoch that the channel has left was dropped. */
  stale(): void;
  /** A read failed and will be made again. */
  failed(error: unknown): void;
  /** false: holes are delivered as they are. Nobody but a test of the tests wants that. */
  readonly repair?: boolean;
}

export interface JoinOutcome {
  /** undefined: no position was given. */
  readonly recovered: boolean | undefined;
  /** Where the subscriber stands once it has had `missed`. */
  readonly position: Position;
  readonly missed: readonly Positioned[];
  /** There is more: `position` is that of the last of `missed`, and the subscriber has to join again from there. */
  readonly partial?: boolean;
}

/** Publications that are held while a read is under way; beyond, history has to serve again. */
const HELD_MAX = 10_000;
/** Reads for one join before it is answered as not recovered. */
const JOIN_ATTEMPTS = 5;
const RETRY_MS = 250;

interface Held {
  readonly publication: Positioned;
  /** How many reads had been sent when it came in. */
  readonly readsSent: number;
}

export class ChannelFeed {
  readonly #ports: FeedPorts;
  #position: Position | undefined;
  /** Came in while D was unknown or a fill was under way. */
  #held: Held[] = [];
  /** Delivered while a read for a join was under way: what its answer may lack. */
  #tail: Positioned[] = [];
  #joinsReading = 0;
  #readsSent = 0;
  #filling: Promise<void> | undefined;
  #closed = false;
  /** Reads under way by position: many who ask the same are served by one. */
  readonly #reading = new Map<string, Promise<HistoryPage>>();

  constructor(ports: FeedPorts) {
    this.#ports = ports;
  }

  /** D; undefined until the first join was answered. */
  get position(): Position | undefined {
    return this.#position;
  }

  close(): void {
    this.#closed = true;
    this.#held = [];
    this.#tail = [];
  }

  /** A publication came from the bus. Its bytes are valid during the call. */
  live(publication: Positioned): void {
    if (this.#position === undefined || this.#filling !== undefined) {
      this.#hold(publication);
      return;
    }
    if (!this.#advance(publication)) {
      this.#hold(publication);
      void this.fill();
    }
  }

  /** @returns false: something lies between it and D, or its epoch is another */
  #advance(publication: Positioned): boolean {
    const at = this.#position!;
    const { offset, epoch } = publication.position;
    if (epoch !== at.epoch) return false;
    if (offset <= at.offset) return true;
    if (offset > at.offset + 1 && this.#ports.repair !== false) return false;
    this.#deliver(publication);
    return true;
  }

  #deliver(publication: Positioned): void {
    this.#position = publication.position;
    if (this.#joinsReading > 0) {
      if (this.#tail.length < HELD_MAX) this.#tail.push(copyOf(publication));
    }
    this.#ports.deliver(publication);
  }

  #hold(publication: Positioned): void {
    // What does not fit is in history: the fill that follows finds it.
    if (this.#held.length >= HELD_MAX) this.#held.shift();
    this.#held.push({ publication: copyOf(publication), readsSent: this.#readsSent });
  }

  /** The top of the channel was seen to be this: fetches what is missing. undefined: nothing is. */
  observe(top: Position): Promise<void> | undefined {
    const at = this.#position;
    if (at === undefined || this.#filling !== undefined) return this.#filling;
    // D may have gone on since the top was asked for.
    return top.epoch !== at.epoch || top.offset > at.offset ? this.fill() : undefined;
  }

  /** Reads what follows D and delivers it, then what was held. Resolves when that is done. */
  fill(): Promise<void> {
    this.#filling ??= this.#fill();
    return this.#filling;
  }

  async #fill(): Promise<void> {
    for (;;) {
      if (this.#closed) return;
      const since = this.#position!;
      const readsSent = ++this.#readsSent;
      let page: HistoryPage;
      try {
        page = await this.#ports.read(since);
        if (page.top.epoch !== since.epoch)
          page = await this.#ports.read({ offset: 0, epoch: page.top.epoch });
      } catch (error) {
        if (this.#closed) return;
        this.#ports.failed(error);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      if (this.#closed) return;
      const delivered = this.#catchUp(page);
      // One of which nothing could be read would come again.
      if (page.more === true && delivered > 0) continue;
      if (this.#release(readsSent, this.#position!.offset === page.top.offset)) {
        this.#filling = undefined;
        return;
      }
    }
  }

  /** Delivers what the page has beyond D, telling a gap where it does not continue D. @returns how many */
  #catchUp({ publications, top }: HistoryPage): number {
    const at = this.#position!;
    // Within one epoch the top never falls, unless the server lost data without telling.
    const continues = top.epoch === at.epoch && top.offset >= at.offset;
    const after = continues ? at.offset : 0;
    const beyond = publications.filter(({ position }) => position !== undefined && position.offset > after);
    const reached = beyond.length > 0 ? beyond[0]!.position!.offset - 1 : top.offset;
    if (!continues || reached > at.offset) this.#goOnAfter({ offset: reached, epoch: top.epoch });
    for (const publication of beyond as Positioned[]) {
      const before = publication.position.offset - 1;
      // One between them could not be read.
      if (before > this.#position!.offset) this.#goOnAfter({ offset: before, epoch: top.epoch });
      this.#deliver(publication);
    }
    return beyond.length;
  }

  #goOnAfter(position: Position): void {
    this.#position = position;
    this.#ports.gap(position);
  }

  /**
   * Hands on what was held, as far as it continues D.
   * @param readsSent  the number of the read that brought D here
   * @param whole  whether that read reached the top
   * @returns false: something held needs another read
   */
  #release(readsSent: number, whole: boolean): boolean {
    const held = this.#held;
    this.#held = [];
    for (let i = 0; i < held.length; i++) {
      const { publication, readsSent: sentBefore } = held[i]!;
      if (this.#advance(publication)) continue;
      if (whole && sentBefore < readsSent) {
        this.#ports.stale();
        continue;
      }
      this.#held = held.slice(i).concat(this.#held);
      return false;
    }
    return true;
  }

  /**
   * Answers a subscriber. `join` is called once, in the turn in which the outcome
   * holds: it must put the subscriber on the topic before it returns.
   * @param since  where it stands; "last": it starts now, and misses the last publication; undefined: nothing
   * @throws what read, top and last throw; nothing was joined then
   */
  async join(since: Position | "last" | undefined, join: (outcome: JoinOutcome) => void): Promise<void> {
    if (since === undefined && this.#position !== undefined) {
      join({ recovered: undefined, position: this.#position, missed: [] });
      return;
    }
    for (let attempt = 1; ; attempt++) {
      this.#joinsReading++;
      try {
        const readsSent = this.#readsSent + 1;
        const page = await this.#readFor(since);
        // What it has beyond D goes to the topic first: from there to D only the tail is looked at.
        if (since === "last") await this.observe(page.top);
        const turn = this.#ports.turn(page.publications);
        if (turn !== undefined) await turn;
        if (this.#closed) return;
        const opening = this.#position === undefined;
        this.#position ??= page.top;
        try {
          const outcome = since === "last" ? this.#lastOf(page) : this.#outcome(since, page);
          if (outcome !== undefined || attempt === JOIN_ATTEMPTS) {
            const recovered = since === "last" ? undefined : false;
            join(outcome ?? { recovered, position: this.#position, missed: [] });
            return;
          }
        } finally {
          if (opening) this.#open(readsSent);
        }
      } finally {
        this.#joinsReading--;
        if (this.#joinsReading === 0) this.#tail = [];
      }
      // The page and D tell different times: bring D up to what history says now.
      await this.fill();
    }
  }

  /** D is known: what came in before is judged by it. */
  #open(readsSent: number): void {
    if (!this.#release(readsSent, true)) void this.fill();
  }

  async #readFor(since: Position | "last" | undefined): Promise<HistoryPage> {
    this.#readsSent++;
    if (since === undefined) return { publications: [], top: await this.#ports.top() };
    const key = since === "last" ? since : `${since.offset} ${since.epoch}`;
    let reading = this.#reading.get(key);
    if (reading === undefined) {
      reading = since === "last" ? this.#ports.last() : this.#ports.read(since);
      reading = reading.finally(() => this.#reading.delete(key));
      this.#reading.set(key, reading);
    }
    return reading;
  }

  /** The newest publication up to D, whatever lies before it. undefined: as #outcome. */
  #lastOf({ publications, top }: HistoryPage): JoinOutcome | undefined {
    const position = this.#position!;
    if (top.epoch !== position.epoch || top.offset > position.offset) return undefined;
    let last: Positioned | undefined;
    for (const publication of [...publications, ...this.#tail] as Positioned[]) {
      const { offset, epoch } = publication.position;
      if (epoch === position.epoch && offset > (last?.position.offset ?? 0)) last = publication;
    }
    return { recovered: undefined, position, missed: last === undefined ? [] : [last] };
  }

  /** undefined: the page is older or newer than D in a way that only another read settles. */
  #outcome(since: Position | undefined, page: HistoryPage): JoinOutcome | undefined {
    const position = this.#position!;
    if (since === undefined) return { recovered: undefined, position, missed: [] };
    const lost: JoinOutcome = { recovered: false, position, missed: [] };
    if (page.top.epoch !== position.epoch) return undefined;
    if (since.epoch !== position.epoch) return lost;
    if (since.offset > page.top.offset) return since.offset > position.offset ? lost : undefined;
    // The subscriber is ahead of this node: joining now would show it some again.
    if (since.offset > position.offset) return undefined;
    const missed: Positioned[] = [];
    let next = since.offset + 1;
    for (const publication of [...page.publications, ...this.#tail] as Positioned[]) {
      const { offset, epoch } = publication.position;
      if (epoch !== position.epoch || offset < next || offset > position.offset) continue;
      if (offset > next) break;
      missed.push(publication);
      next++;
    }
    if (next === position.offset + 1) return { recovered: true, position, missed };
    if (page.more === true && missed.length > 0) {
      return { recovered: true, position: missed.at(-1)!.position, missed, partial: true };
    }
    // History does not reach back that far; if it is the tail that is short, another read helps.
    const trimmed = missed.length === 0 && page.publications.length > 0;
    return trimmed || (page.publications.length === 0 && page.top.offset > since.offset) ? lost : undefined;
  }
}

function copyOf(publication: Positioned): Positioned {
  const { payload } = publication;
  return { ...publication, payload: { bytes: Uint8Array.from(payload.bytes), encoding: payload.encoding } };
}
