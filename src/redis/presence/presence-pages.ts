/** Reads of channels, at their place among the events, and what of them is kept for the next. */

import { setBounded } from "../../core/bounded-map.js";
import type { ChannelKey } from "../../core/broker.js";
import { checkMemberInfo } from "../../core/member-info.js";
import type { PresenceMember, PresencePage } from "../../core/presence.js";
import { shardOf } from "../link/keys.js";
import { decodeEntry, entryPrefix } from "./presence-entries.js";
import type { PresenceOrder } from "./presence-order.js";
import type { ChannelRead, PresenceShard } from "./presence-shard.js";

const DECODED_KEPT = 4_096;

/** A read that waits for the flush before it: who asks the same meanwhile gets the same. */
interface Reading {
  readonly page: Promise<PresencePage>;
  /** Of those who want the page at its place among the events. */
  readonly callbacks: ((page: PresencePage) => void)[];
}

export interface PresencePagesOptions {
  readonly shards: readonly PresenceShard[];
  /** By shard. */
  readonly orders: readonly PresenceOrder[];
  /** A page was given, at its place among the events. */
  readonly told: (key: ChannelKey, page: PresencePage) => void;
  /** Calls what may throw. */
  readonly guard: (tell: () => void) => void;
  /** Something in the record could not be read. */
  readonly skipped: (error: unknown) => void;
}

export class PresencePages {
  readonly #options: PresencePagesOptions;
  readonly #reads = new Map<string, Reading>();
  /** By entry, as it was read last: who joins a channel reads whom others read before. */
  readonly #decoded = new Map<string, PresenceMember>();

  constructor(options: PresencePagesOptions) {
    this.#options = options;
  }

  /** As PresenceStore's members. */
  read(key: ChannelKey, limit: number, tell?: (page: PresencePage) => void): Promise<PresencePage> {
    const most = Math.max(0, Math.floor(limit) || 0);
    const asked = `${most} ${key}`;
    let reading = this.#reads.get(asked);
    if (reading === undefined) {
      const callbacks: Reading["callbacks"] = [];
      reading = { callbacks, page: this.#read(key, most, callbacks, () => this.#reads.delete(asked)) };
      this.#reads.set(asked, reading);
    }
    if (tell !== undefined) reading.callbacks.push(tell);
    return reading.page;
  }

  async #read(
    key: ChannelKey,
    most: number,
    callbacks: Reading["callbacks"],
    begun: () => void,
  ): Promise<PresencePage> {
    const at = shardOf(key, this.#options.shards.length);
    const ask = (started: () => void): Promise<ChannelRead> =>
      this.#options.shards[at]!.read(entryPrefix(key), most, started);
    let page: PresencePage | undefined;
    let ordered: Promise<void> | undefined;
    const asked = ask(() => {
      begun();
      // Who only wants to know holds nobody's events back.
      if (callbacks.length === 0) return;
      ordered = this.#options.orders[at]!.read(
        key,
        asked,
        () => ask(() => undefined),
        (read) => {
          page = this.#pageOf(read);
          for (const tell of callbacks) this.#options.guard(() => tell(page!));
          this.#options.told(key, page);
        },
      );
    });
    await asked.catch(() => undefined);
    if (ordered === undefined) return this.#pageOf(await asked);
    await ordered;
    return page!;
  }

  #pageOf({ connections, users, entries, infos }: ChannelRead): PresencePage {
    const members: PresenceMember[] = [];
    for (const entry of entries) {
      const info = infos.get(entry);
      const known = this.#decoded.get(entry);
      if (known !== undefined && known.info === info) {
        members.push(known);
        continue;
      }
      try {
        const { member } = decodeEntry(entry);
        const read = info === undefined ? member : this.#showing(member, info);
        members.push(setBounded(this.#decoded, DECODED_KEPT, entry, read));
      } catch (error) {
        this.#options.skipped(error);
      }
    }
    return { members, connections, users };
  }

  /** What cannot be read is left out, and the member stays. */
  #showing(member: PresenceMember, info: string): PresenceMember {
    try {
      checkMemberInfo(info);
      return { ...member, info };
    } catch (error) {
      this.#options.skipped(error);
      return member;
    }
  }
}
