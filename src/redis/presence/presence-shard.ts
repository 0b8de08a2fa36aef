/** A shard of presence as one node writes it: what waits to be written, and the steps that write it. */

import { randomUUID } from "node:crypto";

import type { Log } from "../../core/log.js";
import { throttle } from "../link/throttle.js";
import type { FleetFormat } from "../link/fleet-format.js";
import type { RedisLink } from "../link/link.js";
import { loadScript, runScript } from "../link/scripts.js";

const STEP = loadScript("presence-step");

/** About 1 ms of Redis's time. */
const STEP_ITEMS_MAX = 250;
const STEP_CHARACTERS_MAX = 128 * 1024;
/** Members that are looked at in one go when those of a dead node are picked. */
const TAKE_OUT_LOOK = 500;
/** Lapsed members and due leaves that one step takes at most; if more are left another follows at once. */
const SWEEP_MOST = 200;
/** How often in a member's life a record is swept in which nobody was: whoever came since is seen before lapsing. */
const VACANT_SWEEPS_PER_LIFE = 6;
const RETRY_MS = 500;
const LOG_INTERVAL_MS = 5_000;

/** lua/presence-step.lua says what each means. */
type Sign = "+" | "*" | "~" | "-" | "?" | "=";

export interface PresenceShardOptions {
  readonly shard: number;
  readonly link: RedisLink;
  readonly format: FleetFormat;
  /** After this long unrefreshed a member is taken out. */
  readonly lifeMs: number;
  readonly graceMs: number;
  /** Of the keys, when no node lives to clear them. */
  readonly keysTtlMs: number;
  readonly flushIntervalMs: number;
  /** How often lapsed members and due leaves are looked for, give or take a quarter. */
  readonly sweepIntervalMs: number;
  readonly log: Log;
  /** The record was lost: all of this node's entries in the shard are to be put again. */
  lost(): void;
  /** Where the record stood when a step was done. */
  counted(count: EventCount): void;
}

/** How many events of a shard were told since its record began. */
export interface EventCount {
  readonly epoch: string;
  readonly told: number;
}

export interface ChannelRead extends EventCount {
  readonly connections: number;
  readonly users: number;
  /** As encodeEntry made them. */
  readonly entries: readonly string[];
  /** By entry: of those that show any. */
  readonly infos: ReadonlyMap<string, string>;
}

type StepReply = [
  epoch: string,
  told: number,
  waits: "more" | "some" | "none",
  connections: number,
  users: number,
  entries: string[],
  missing: string[],
  infosId: string,
  infos?: string[],
  infosRest?: string,
];

interface Item {
  readonly entry: string;
  readonly sign: Sign;
  /** undefined: not told with it; empty: there is none. */
  readonly info: string | undefined;
}

const NO_INFOS: ReadonlyMap<string, string> = new Map();

/** What a step reads. */
interface Range {
  readonly prefix: string;
  readonly limit: number;
  /** Infos from behind this one on, up to this entry's: no entries. */
  readonly infosAfter: string;
  readonly infosUpTo: string;
}

const NOTHING: Range = { prefix: "", limit: 0, infosAfter: "", infosUpTo: "" };

export class PresenceShard {
  readonly #options: PresenceShardOptions;
  readonly #keys: readonly string[];
  readonly #events: string;
  readonly #report: (error: unknown) => void;
  /** The last sign wins; one per entry, so bounded by the entries that were or are to be written. */
  readonly #queue = new Map<string, Sign>();
  /** Joins that wait for another try: Redis may have them. */
  readonly #tried = new Set<string>();
  /** By entry: of this node's members that show info; empty until it is written that one shows none any more. */
  readonly #infos = new Map<string, string>();
  /** Of the record's infos; empty: not known. */
  #infosId = "";
  #epoch = "";
  #flushing: Promise<void> | undefined;
  #following: Promise<void> | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #sweepTimer: NodeJS.Timeout | undefined;
  /** Of performance.now(). */
  #steppedAtMs = -Infinity;
  /** Nobody was in the record when it was last swept, nor was written since. */
  #vacant = false;
  #closed = false;

  constructor(options: PresenceShardOptions) {
    this.#options = options;
    const { keys } = options.link;
    this.#keys = keys.presence(options.shard);
    this.#events = keys.presenceEvents(options.shard);
    this.#report = throttle(LOG_INTERVAL_MS, (suppressed, error: unknown) => {
      options.log.warn(
        { shard: options.shard, suppressed, error: String(error) },
        "presence could not be written",
      );
    });
  }

  join(entry: string, info: string | undefined): void {
    if (info !== undefined) this.#infos.set(entry, info);
    // A leave that waits means that the record has the entry: it is told only if it lapsed there.
    const waits = this.#queue.get(entry) === "-";
    // What it showed there is not known any more.
    if (waits && info === undefined) this.#infos.set(entry, "");
    this.#put(entry, waits ? "*" : "+");
  }

  /** The member shows other info from now on, or none. */
  update(entry: string, info: string | undefined): void {
    this.#infos.set(entry, info ?? "");
    const sign = this.#queue.get(entry);
    if (sign !== "+" && sign !== "~") this.#put(entry, "*");
  }

  leave(entry: string): void {
    this.#infos.delete(entry);
    // Never sent: there is nothing to take back. So churn while Redis is away queues nothing.
    if (this.#queue.get(entry) === "+" && !this.#tried.has(entry)) this.#queue.delete(entry);
    else this.#put(entry, "-");
  }

  refresh(entry: string): void {
    if (!this.#queue.has(entry)) this.#put(entry, this.#infos.has(entry) ? "?" : "*");
  }

  /** After an outage, or if `lost` the loss of the record. */
  writeAgain(entry: string, lost: boolean): void {
    const sign = this.#queue.get(entry);
    if (sign === "+") return;
    if (lost) this.#put(entry, "~");
    // Its info waits to be written.
    else if (sign !== "*" && sign !== "=") this.#put(entry, this.#infos.has(entry) ? "?" : "*");
  }

  #put(entry: string, sign: Sign): void {
    this.#queue.set(entry, sign);
    if (this.#vacant) {
      this.#vacant = false;
      this.startSweeping();
    }
    if (this.#options.link.down === undefined) this.#schedule(this.#options.flushIntervalMs);
  }

  #schedule(delayMs: number): void {
    if (this.#closed || this.#flushTimer !== undefined || this.#flushing !== undefined) return;
    this.#flushTimer = setTimeout(() => void this.flush(), delayMs);
  }

  /** Never rejects. Resolves when all that waits now was tried once. */
  flush(): Promise<void> {
    if (this.#flushing !== undefined) {
      return (this.#following ??= this.#flushing.then(() => {
        this.#following = undefined;
        return this.flush();
      }));
    }
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    if (this.#queue.size === 0 || this.#options.link.down !== undefined) return Promise.resolve();
    this.#flushing = this.#write(this.#queue.size).then((written) => {
      this.#flushing = undefined;
      if (this.#queue.size === 0 || this.#options.link.down !== undefined) return;
      this.#schedule(written ? this.#options.flushIntervalMs : RETRY_MS);
    });
    return this.#flushing;
  }

  /** Batches go one after the other: the order of an entry's signs is that of its connection. */
  async #write(count: number): Promise<boolean> {
    let left = count;
    while (left > 0 && this.#queue.size > 0) {
      const batch: Item[] = [];
      let characters = 0;
      for (const [entry, sign] of this.#queue) {
        if (batch.length >= Math.min(left, STEP_ITEMS_MAX) || characters >= STEP_CHARACTERS_MAX) break;
        const info = sign === "?" || sign === "-" ? undefined : this.#infos.get(entry);
        batch.push({ entry, sign, info });
        characters += entry.length + (info?.length ?? 0);
        this.#queue.delete(entry);
      }
      left -= batch.length;
      try {
        await this.#step(
          batch.map(({ entry, sign, info }) => sign + entry + (info === undefined ? "" : `\n${info}`)),
        );
        if (this.#tried.size > 0) for (const { entry } of batch) this.#tried.delete(entry);
        if (this.#infos.size > 0) this.#forgetCleared(batch);
      } catch (error) {
        // Written twice is as good as once.
        for (const { entry, sign } of batch) {
          if (this.#queue.has(entry)) continue;
          this.#queue.set(entry, sign);
          if (sign === "+") this.#tried.add(entry);
        }
        this.#report(error);
        return false;
      }
    }
    return true;
  }

  #forgetCleared(batch: readonly Item[]): void {
    for (const { entry, info } of batch) {
      if (info === "" && this.#infos.get(entry) === "") this.#infos.delete(entry);
    }
  }

  /** @throws StarlingError unavailable, outcome_unknown */
  async read(prefix: string, limit: number): Promise<ChannelRead> {
    // Ghosts beyond one step's share are taken out first.
    for (;;) {
      const reply = await this.#step([], { ...NOTHING, prefix, limit });
      const [epoch, told, waits, connections, users, entries] = reply;
      if (waits === "more") continue;
      const infos = await this.#readInfos(prefix, entries.at(-1) ?? "", reply);
      return { epoch, told, connections, users, entries, infos };
    }
  }

  /** Those beyond one reply's share are read later: what changed since then is told behind the page, too. */
  async #readInfos(
    prefix: string,
    infosUpTo: string,
    reply: StepReply,
  ): Promise<ReadonlyMap<string, string>> {
    let [, , , , , , , , held = [], rest = ""] = reply;
    if (held.length === 0) return NO_INFOS;
    const infos = new Map<string, string>();
    for (;;) {
      for (const each of held) {
        const end = each.indexOf("\n", each.indexOf("\n", each.indexOf("\n") + 1) + 1);
        infos.set(each.slice(0, end), each.slice(end + 1));
      }
      if (rest === "") return infos;
      const range = { prefix, limit: 0, infosAfter: rest, infosUpTo };
      [, , , , , , , , held = [], rest = ""] = await this.#step([], range);
    }
  }

  /**
   * Has the members leave that `isOf` picks, unless they are written again meanwhile.
   * @throws StarlingError unavailable, outcome_unknown
   */
  async takeOut(isOf: (entry: string) => boolean, stillDead: () => Promise<boolean>): Promise<void> {
    const { link } = this.#options;
    const [members, expiries] = this.#keys as [string, string];
    for (let from = "-"; ;) {
      const page = await link.run((redis) =>
        redis.zrangebylex(members, from, "+", "LIMIT", 0, TAKE_OUT_LOOK),
      );
      const picked = page.filter(isOf);
      const scores = await link.run((redis) =>
        Promise.all(picked.map((entry) => redis.zscore(expiries, entry))),
      );
      const items = picked.flatMap((entry, at) => (scores[at] === null ? [] : [`!${scores[at]} ${entry}`]));
      // Who lives after this registers again, and writes its members again after that.
      if (items.length > 0 && !(await stillDead())) return;
      for (let at = 0; at < items.length; at += STEP_ITEMS_MAX) {
        await this.#step(items.slice(at, at + STEP_ITEMS_MAX));
      }
      if (page.length < TAKE_OUT_LOOK) return;
      from = `(${page.at(-1)!}`;
    }
  }

  async #step(items: readonly string[], read = NOTHING): Promise<StepReply> {
    const { link, format, lifeMs, graceMs, keysTtlMs } = this.#options;
    const showsInfo = this.#infos.size > 0;
    const fixed = [this.#events, lifeMs, graceMs, keysTtlMs, this.#epoch, randomUUID(), SWEEP_MOST];
    const { prefix, limit, infosAfter, infosUpTo } = read;
    const info = [showsInfo ? "1" : "", format.oldest, infosAfter, infosUpTo];
    const reply = (await link.run((redis) =>
      runScript(redis, STEP, this.#keys, [...fixed, prefix, limit, link.publishCommand, ...info, ...items]),
    )) as StepReply;
    this.#steppedAtMs = performance.now();
    const known = this.#epoch;
    this.#epoch = reply[0];
    if (known !== "" && known !== reply[0]) this.#options.lost();
    if (showsInfo) this.#keepInfos(reply[6], reply[7]);
    this.#options.counted({ epoch: reply[0], told: reply[1] });
    return reply;
  }

  /** Writes the infos of this node's members again that the record does not have. */
  #keepInfos(missing: readonly string[], id: string): void {
    for (const entry of missing) {
      if (this.#infos.has(entry) && !this.#queue.has(entry)) this.#put(entry, "*");
    }
    const known = this.#infosId;
    this.#infosId = id;
    if (known === "" || known === id) return;
    for (const [entry, info] of this.#infos) {
      if (info !== "" && (this.#queue.get(entry) ?? "?") === "?") this.#put(entry, "=");
    }
  }

  startSweeping(): void {
    const { sweepIntervalMs, lifeMs } = this.#options;
    const vacantIntervalMs = Math.max(sweepIntervalMs, lifeMs / VACANT_SWEEPS_PER_LIFE);
    const intervalMs = this.#vacant ? vacantIntervalMs : sweepIntervalMs;
    // A join begins anew while a sweep is on its way, which does so too: of both one goes on.
    clearTimeout(this.#sweepTimer);
    this.#sweepTimer = setTimeout(() => void this.#sweep(), intervalMs * (0.75 + Math.random() / 2));
  }

  async #sweep(): Promise<void> {
    const { link, sweepIntervalMs } = this.#options;
    try {
      // What waits goes first: after an outage nobody is to lapse whom this node still has.
      await this.flush();
      let more = performance.now() - this.#steppedAtMs > sweepIntervalMs / 2;
      while (more && link.down === undefined && !this.#closed) {
        const waits = (await this.#step([]))[2];
        more = waits === "more";
        this.#vacant = waits === "none" && this.#queue.size === 0 && this.#flushing === undefined;
      }
    } catch (error) {
      this.#report(error);
    }
    if (!this.#closed) this.startSweeping();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#sweepTimer);
  }
}
