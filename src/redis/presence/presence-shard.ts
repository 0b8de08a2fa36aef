/** A shard of presence as one node writes and reads it: the steps, and when they are taken. */

import { randomUUID } from "node:crypto";

import type { Log } from "../../core/log.js";
import { throttle } from "../link/throttle.js";
import type { FleetFormat } from "../link/fleet-format.js";
import type { RedisLink } from "../link/link.js";
import { loadScript, runScript } from "../link/scripts.js";
import { PresenceQueue } from "./presence-queue.js";

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
  /** The record that this node met first began within a grace. */
  young(): void;
  /** A join was not let in, as the channel is full. */
  refused(entry: string): void;
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
  missing: string[],
  infosId: string,
  refused: string[],
  young: 0 | 1,
  reads: (ReadReply | 0)[],
];

type ReadReply = [
  connections: number,
  users: number,
  entries: string[],
  infos: string[],
  /** The last of them, if more follow. */
  infosRest: string,
];

/** A question that goes with the next step. */
interface Asked {
  /** As the script takes it. */
  readonly text: string;
  readonly begun: () => void;
  readonly resolve: (read: ChannelRead) => void;
  readonly reject: (error: unknown) => void;
}

const NOTHING: readonly string[] = [];
const NO_INFOS: ReadonlyMap<string, string> = new Map();

export class PresenceShard {
  /** What this node has yet to write. */
  readonly queue = new PresenceQueue(() => this.#queueGrew());
  readonly #options: PresenceShardOptions;
  readonly #keys: readonly string[];
  readonly #events: string;
  readonly #report: (error: unknown) => void;
  /** Of the record's infos; empty: not known. */
  #infosId = "";
  #epoch = "";
  #flushing: Promise<void> | undefined;
  #following: Promise<void> | undefined;
  /** They wait for the next flush. */
  #asked: Asked[] = [];
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

  #queueGrew(): void {
    if (this.#vacant) {
      this.#vacant = false;
      this.#startSweeping();
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
    const asked = this.#asked;
    this.#asked = [];
    for (const { begun } of asked) begun();
    const down = this.#options.link.down !== undefined;
    const count = down ? 0 : this.queue.size;
    if (count === 0 && asked.length === 0) return Promise.resolve();
    this.#flushing = this.#write(count, asked).then((written) => {
      this.#flushing = undefined;
      if (this.queue.size === 0 || this.#options.link.down !== undefined) return;
      this.#schedule(written ? this.#options.flushIntervalMs : RETRY_MS);
    });
    return this.#flushing;
  }

  /**
   * Batches go one after the other: the order of an entry's signs is that of its connection. What was asked goes with the
   * last of them, and again until it is answered.
   */
  async #write(count: number, asked: readonly Asked[]): Promise<boolean> {
    let left = count;
    let open = asked;
    while (left > 0 || open.length > 0) {
      const batch = this.queue.take(Math.min(left, STEP_ITEMS_MAX), STEP_CHARACTERS_MAX);
      left = this.queue.size === 0 ? 0 : left - batch.items.length;
      const going = left > 0 ? [] : open;
      try {
        const reply = await this.#step(
          batch.texts,
          going.map(({ text }) => text),
        );
        this.queue.written(batch);
        if (going.length > 0) open = this.#answer(going, reply);
      } catch (error) {
        this.queue.putBack(batch);
        if (batch.items.length > 0) this.#report(error);
        for (const { reject } of open) reject(error);
        return false;
      }
    }
    return true;
  }

  /**
   * What is there of a channel, this node's joins and leaves before the question among it.
   * @param begun  called when it is about to be asked: what is queued afterwards is not among it
   * @throws StarlingError unavailable, outcome_unknown
   */
  read(prefix: string, limit: number, begun: () => void): Promise<ChannelRead> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ text: `${limit} ${prefix}`, begun, resolve, reject });
      // All that clients ask in this turn of the loop goes in one step.
      if (this.#asked.length === 1) setImmediate(() => void this.flush());
    });
  }

  /** @returns what is to be asked again */
  #answer(asked: readonly Asked[], [epoch, told, waits, , , , , reads]: StepReply): readonly Asked[] {
    // Ghosts beyond one step's share are taken out first.
    if (waits === "more") return asked;
    return asked.filter(({ resolve, reject }, at) => {
      const reply = reads[at]!;
      if (reply === 0) return true;
      const [connections, users, entries] = reply;
      const read = { epoch, told, connections, users, entries };
      if (reply[3].length === 0) resolve({ ...read, infos: NO_INFOS });
      else this.#readInfos(reply).then((infos) => resolve({ ...read, infos }), reject);
      return false;
    });
  }

  /** Those beyond one reply's share are read later: what changed since then is told behind the page, too. */
  async #readInfos([, , entries, held, rest]: ReadReply): Promise<ReadonlyMap<string, string>> {
    const infos = new Map<string, string>();
    for (;;) {
      for (const each of held) {
        const end = each.indexOf("\n", each.indexOf("\n", each.indexOf("\n") + 1) + 1);
        infos.set(each.slice(0, end), each.slice(end + 1));
      }
      if (rest === "") return infos;
      const [, , , , , , , reads] = await this.#step(NOTHING, [`>${rest}\n${entries.at(-1)!}`]);
      [, , , held, rest] = reads[0] as ReadReply;
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

  async #step(items: readonly string[], reads = NOTHING): Promise<StepReply> {
    const { link, format, lifeMs, graceMs, keysTtlMs } = this.#options;
    const { hasInfos } = this.queue;
    const times = [this.#events, lifeMs, graceMs, keysTtlMs, this.#epoch, randomUUID(), SWEEP_MOST];
    const fixed = [...times, reads.length, link.publishCommand, hasInfos ? "1" : "", format.oldest];
    const reply = (await link.run((redis) =>
      runScript(redis, STEP, this.#keys, [...fixed, ...reads, ...items]),
    )) as StepReply;
    this.#steppedAtMs = performance.now();
    const known = this.#epoch;
    const [epoch, told, , missing, infosId, refused, young] = reply;
    this.#epoch = epoch;
    if (known === "" && young === 1) this.#options.young();
    if (known !== "" && known !== epoch) this.#options.lost();
    if (hasInfos) this.#keepInfos(missing, infosId);
    for (const entry of refused) {
      this.queue.refused(entry);
      this.#options.refused(entry);
    }
    this.#options.counted({ epoch, told });
    return reply;
  }

  /** Writes the infos of this node's members again that the record does not have. */
  #keepInfos(missing: readonly string[], id: string): void {
    this.queue.writeMissing(missing);
    const known = this.#infosId;
    this.#infosId = id;
    if (known !== "" && known !== id) this.queue.writeInfosAgain();
  }

  /** Resolves when it is known what was told before this node's first member, or that this was not to be learnt. */
  async start(): Promise<void> {
    if (this.#options.link.use.presence) await this.#step([]).catch(this.#report);
    if (!this.#closed) this.#startSweeping();
  }

  #startSweeping(): void {
    const { sweepIntervalMs, lifeMs } = this.#options;
    const vacantIntervalMs = Math.max(sweepIntervalMs, lifeMs / VACANT_SWEEPS_PER_LIFE);
    const intervalMs = this.#vacant ? vacantIntervalMs : sweepIntervalMs;
    // A join begins anew while a sweep is on its way, which does so too: of both one goes on.
    clearTimeout(this.#sweepTimer);
    this.#sweepTimer = setTimeout(() => void this.#sweep(), intervalMs * (0.75 + Math.random() / 2));
  }

  async #sweep(): Promise<void> {
    const { link, sweepIntervalMs } = this.#options;
    // Where no channel of this node has presence those nodes sweep that have some.
    if (!link.use.presence) {
      this.#startSweeping();
      return;
    }
    try {
      // What waits goes first: after an outage nobody is to lapse whom this node still has.
      await this.flush();
      let more = performance.now() - this.#steppedAtMs > sweepIntervalMs / 2;
      while (more && link.down === undefined && !this.#closed) {
        const waits = (await this.#step([]))[2];
        more = waits === "more";
        this.#vacant = waits === "none" && this.queue.size === 0 && this.#flushing === undefined;
      }
    } catch (error) {
      this.#report(error);
    }
    if (!this.#closed) this.#startSweeping();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#sweepTimer);
  }
}
