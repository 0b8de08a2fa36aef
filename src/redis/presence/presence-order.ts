/**
 * One order for what a shard tells and what is read of it. Events come over one connection, reads over
 * another, and each may overtake the other. So the record counts its events, and a read says how many were
 * told before it: they are waited for, and the channel's later ones are held back until the page was told.
 */

import { setBounded } from "../../core/bounded-map.js";
import type { ChannelKey } from "../../core/broker.js";
import type { PresenceEvent } from "../../core/presence.js";
import type { PresenceEvents } from "./presence-entries.js";
import type { EventCount } from "./presence-shard.js";

const PAGES_KEPT = 4_096;

export interface PresenceOrderOptions {
  /** How long events are waited for that Redis told before a read. */
  readonly patienceMs: number;
  event(event: PresenceEvent): void;
  /** Events did not come that Redis told. */
  missed(): void;
}

interface Numbered {
  readonly epoch: string;
  readonly number: number;
  readonly event: PresenceEvent;
}

/** A channel that is being read. */
interface Hold {
  reads: number;
  events: Numbered[];
  /** How many events the page knew that was told last. */
  told: EventCount | undefined;
}

interface Waiting extends EventCount {
  readonly done: () => void;
}

export class PresenceOrder {
  readonly #options: PresenceOrderOptions;
  readonly #holds = new Map<ChannelKey, Hold>();
  readonly #waiting = new Set<Waiting>();
  /** What was received; undefined: it is not known yet what was told before this node listened. */
  #received: EventCount | undefined;
  /** Up to here events were not received but taken for received: they may still come. undefined: none of them can. */
  #assumed: EventCount | undefined;
  /** Pages that were told meanwhile, by channel. */
  readonly #pages = new Map<ChannelKey, EventCount>();

  constructor(options: PresenceOrderOptions) {
    this.#options = options;
  }

  /** Events came from the bus. */
  receive({ epoch, number, events }: PresenceEvents): void {
    const received = this.#received;
    const follows = received?.epoch !== epoch || number <= received.told + 1;
    const told = number + events.length - 1;
    if (received?.epoch !== epoch || told > received.told) this.#received = { epoch, told };
    let behindPage = false;
    events.forEach((event, at) => {
      if (event === undefined) return;
      const page = this.#pages.get(event.key);
      // What a page has already is not told behind it, though others may lack it: the channels are told anew.
      if (page?.epoch === epoch && number + at <= page.told) {
        behindPage = true;
        return;
      }
      const hold = this.#holds.get(event.key);
      if (hold === undefined) this.#options.event(event);
      else hold.events.push({ epoch, number: number + at, event });
    });
    if (this.#assumed !== undefined && (this.#assumed.epoch !== epoch || told > this.#assumed.told)) {
      this.#assumed = undefined;
      this.#pages.clear();
    }
    if (!follows || behindPage || events.includes(undefined)) this.#options.missed();
    this.#wake();
  }

  /** A step was answered. What a record told that this node knows nothing of is not waited for. */
  counted({ epoch, told }: EventCount): void {
    if (this.#received?.epoch === epoch) return;
    this.#assume({ epoch, told });
    this.#wake();
  }

  #assume(count: EventCount): void {
    this.#received = this.#assumed = count;
  }

  /** Events may be missing from now on: the link to the bus is not what it was. */
  reset(): void {
    this.#received = undefined;
    for (const { done } of this.#waiting) done();
  }

  /**
   * Calls `tell` when all events before the read were told and none after it. Rejects as the reads do.
   * @param first  asked for in this turn  @param again  asks anew
   */
  async read<Read extends EventCount>(
    key: ChannelKey,
    first: Promise<Read>,
    again: () => Promise<Read>,
    tell: (read: Read) => void,
  ): Promise<void> {
    const hold = this.#hold(key);
    try {
      let read = await first;
      await this.#waitFor(read);
      // Of two reads that overtook each other the older one is of no use.
      while (hold.told?.epoch === read.epoch && hold.told.told > read.told) {
        read = await again();
        await this.#waitFor(read);
      }
      hold.told = { epoch: read.epoch, told: read.told };
      const { epoch, told } = read;
      const after = hold.events.findIndex((held) => held.epoch === epoch && held.number > told);
      this.#release(hold.events.splice(0, after === -1 ? Infinity : after));
      if (this.#assumed !== undefined || this.#received === undefined) {
        setBounded(this.#pages, PAGES_KEPT, key, { epoch, told });
      }
      tell(read);
    } finally {
      hold.reads--;
      if (hold.reads === 0) {
        this.#holds.delete(key);
        this.#release(hold.events);
      }
    }
  }

  #hold(key: ChannelKey): Hold {
    let hold = this.#holds.get(key);
    if (hold === undefined) this.#holds.set(key, (hold = { reads: 0, events: [], told: undefined }));
    hold.reads++;
    return hold;
  }

  #release(events: readonly Numbered[]): void {
    for (const { event } of events) this.#options.event(event);
  }

  #isReceived({ epoch, told }: EventCount): boolean {
    return this.#received?.epoch !== epoch || this.#received.told >= told;
  }

  async #waitFor(read: EventCount): Promise<void> {
    if (this.#isReceived(read)) return;
    const came = await new Promise<boolean>((resolve) => {
      const end = (inTime: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        resolve(inTime);
      };
      const timer = setTimeout(() => end(false), this.#options.patienceMs);
      const waiting: Waiting = { epoch: read.epoch, told: read.told, done: () => end(true) };
      this.#waiting.add(waiting);
    });
    if (came || this.#isReceived(read)) return;
    this.#assume({ epoch: read.epoch, told: read.told });
    this.#options.missed();
  }

  #wake(): void {
    for (const waiting of this.#waiting) if (this.#isReceived(waiting)) waiting.done();
  }
}
