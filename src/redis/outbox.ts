/** What Redis is yet to learn about this node's connections: gathered here, written in batches. */

import type { Log } from "../core/log.js";
import type { RegisteredConnection, SessionRecord } from "../core/registry.js";
import {
  emptyBatch,
  owned,
  ownedLive,
  secretHashOf,
  writeBatch,
  type Batch,
  type BatchTarget,
  type Ending,
  type Entry,
  type Field,
  type LiveOwnership,
} from "./batch.js";
import { limited } from "./limited.js";
import { isWorthKeeping, sessionJson, sessionText, type Outcome, type SessionStore } from "./sessions.js";

/** Written between two turns of the event loop: building more JSON at once would delay frames. */
const SLICE = 2_000;
/** Sessions whose connection went while Redis was away, about 15 MB; live ones are bounded by themselves. */
const ENDINGS_MAX = 50_000;
const RETRY_MS = 250;
const REPORT_INTERVAL_MS = 5_000;

export interface OutboxOptions {
  readonly flushIntervalMs: number;
  readonly sessions: SessionStore;
  readonly log: Log;
  /** Whether writing makes sense now. What is put while it does not waits. */
  canWrite(): boolean;
  /** Whether the hash holds what was written to it: after a lapse it is written anew from empty. */
  hashStands(): boolean;
  /** One round trip; false: this node's registration lapsed, nothing was written. */
  writeHash(removed: readonly string[], lines: string): Promise<boolean>;
  /** Another connection owns the session of this one, which is forgotten here. */
  superseded(connectionId: string): void;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #dirty = new Set<Entry>();
  /** Only what went while the hash stood, so a long outage does not fill it. */
  readonly #removed = new Set<string>();
  /** By session id. */
  readonly #endings = new Map<string, Ending>();
  readonly #target: BatchTarget;
  readonly #reportFailure: (error: unknown) => void;
  readonly #reportDropped: () => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<boolean> | undefined;
  #closed = false;
  #touching: MapIterator<Entry> | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#reportFailure = limited(REPORT_INTERVAL_MS, (suppressed, error: unknown) => {
      options.log.warn(
        { suppressed, error: String(error) },
        "connection state not written; it is kept and tried again",
      );
    });
    this.#target = {
      sessions: options.sessions,
      writeHash: (removed, lines) => options.writeHash(removed, lines),
      saved: (saves, outcomes) => this.#learn(saves, outcomes),
      failed: (error) => this.#reportFailure(error),
    };
    this.#reportDropped = limited(REPORT_INTERVAL_MS, (suppressed) => {
      options.log.warn(
        { limit: ENDINGS_MAX, suppressed },
        "sessions that ended while Redis was away were dropped",
      );
    });
  }

  get size(): number {
    return this.#entries.size;
  }

  get pending(): boolean {
    return this.#dirty.size + this.#removed.size + this.#endings.size > 0;
  }

  has(entry: Entry): boolean {
    return this.#entries.get(entry.connection.id) === entry;
  }

  put(connection: RegisteredConnection): Entry {
    let entry = this.#entries.get(connection.id);
    if (entry === undefined) {
      entry = {
        connection,
        generation: 0,
        stored: undefined,
        taken: undefined,
        written: false,
        unanswered: undefined,
      };
      this.#entries.set(connection.id, entry);
    } else {
      entry.connection = connection;
    }
    this.#dirty.add(entry);
    this.#schedule(this.#options.flushIntervalMs);
    return entry;
  }

  remove(connection: RegisteredConnection, resumable: boolean): void {
    const entry = this.#entries.get(connection.id);
    if (entry === undefined) return;
    this.#forget(entry);
    const session = connection.session();
    if (!this.#settle(entry, session)) {
      // Closed before it could go on with what it took.
      const { record, formerSecretHash, own } = entry.taken!;
      this.giveBack(entry, record, formerSecretHash, resumable);
      if (own !== undefined) this.#end({ ...own, secretHash: "-", json: undefined });
      return;
    }
    const json = resumable ? sessionJson(session) : undefined;
    if (json === undefined && entry.stored === undefined) return;
    this.#end({ ...owned(entry, session.session), secretHash: secretHashOf(entry), json });
  }

  /** Leaves a taken session to whoever shows again the secret that took it. */
  giveBack(entry: Entry, record: SessionRecord, formerSecretHash: string, resumable = true): void {
    const json = resumable ? sessionJson(record) : undefined;
    this.#end({ ...owned(entry, record.session), secretHash: formerSecretHash, json });
  }

  /** The entry owns a session that it took. */
  adopt(entry: Entry, generation: number, record: SessionRecord, formerSecretHash: string): void {
    const own =
      entry.stored === undefined || entry.stored === record.session ? undefined : owned(entry, entry.stored);
    const taking = { record, formerSecretHash, own, settled: false };
    entry.stored = record.session;
    entry.generation = generation;
    entry.taken = taking;
    // Core goes on with it in the turn in which the take is answered, or not at all.
    setImmediate(() => {
      taking.settled = true;
      if (!this.has(entry)) return;
      this.#dirty.add(entry);
      this.#schedule(this.#options.flushIntervalMs);
    });
  }

  /** Forgets a connection whose session is another's now, and tells. */
  supersede(connectionId: string): void {
    const entry = this.#entries.get(connectionId);
    if (entry !== undefined) this.#forget(entry);
    this.#options.superseded(connectionId);
  }

  /** Writes exactly these connections into a hash that was emptied. Rejects if not all was written. */
  async rewrite(connections: Iterable<RegisteredConnection>): Promise<void> {
    const ids = new Set<string>();
    for (const connection of connections) {
      ids.add(connection.id);
      this.put(connection);
    }
    for (const [id, entry] of this.#entries) {
      if (!ids.has(id)) this.#forget(entry);
    }
    if (!(await this.flush())) throw new Error("not all connections could be written");
  }

  /** Resolves when what was put before this call is written (true) or could not be (false). */
  async flush(): Promise<boolean> {
    // A run that is under way may have begun before the latest put.
    if (this.#running !== undefined) await this.#running;
    return this.#run();
  }

  /** Extends a share of the live sessions; called often enough, that reaches each of them in time. */
  async touch(share: number): Promise<void> {
    if (!this.#options.canWrite()) return;
    const items: LiveOwnership[] = [];
    for (let left = Math.ceil(this.#entries.size * share); left > 0; left--) {
      this.#touching ??= this.#entries.values();
      const next = this.#touching.next();
      if (next.done === true) {
        this.#touching = undefined;
        break;
      }
      const entry = next.value;
      if (entry.stored !== undefined) items.push(ownedLive(entry, entry.stored));
    }
    const { sessions } = this.#options;
    await Promise.all(
      sessions.group(items).map(async (group) => {
        try {
          this.#learn(group, await sessions.touch(group));
        } catch (error) {
          this.#reportFailure(error);
        }
      }),
    );
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Whether it is known which session the connection goes on with; a taken one that it left is given back. */
  #settle(entry: Entry, current: SessionRecord): boolean {
    const { taken } = entry;
    if (taken === undefined) return true;
    if (current.session === taken.record.session) {
      if (taken.own !== undefined) this.#end({ ...taken.own, secretHash: "-", json: undefined });
    } else {
      if (!taken.settled) return false;
      this.giveBack(entry, taken.record, taken.formerSecretHash);
      entry.stored = taken.own?.session;
      entry.generation = taken.own?.generation ?? 0;
    }
    entry.taken = undefined;
    return true;
  }

  #forget(entry: Entry): void {
    const { id } = entry.connection;
    this.#entries.delete(id);
    this.#dirty.delete(entry);
    if (!entry.written || !this.#options.hashStands()) return;
    this.#removed.add(id);
    this.#schedule(this.#options.flushIntervalMs);
  }

  #end(ending: Ending): void {
    if (this.#endings.size >= ENDINGS_MAX) {
      this.#endings.delete(this.#endings.keys().next().value!);
      this.#reportDropped();
    }
    this.#endings.set(ending.session, ending);
    this.#schedule(this.#options.flushIntervalMs);
  }

  #schedule(delayMs: number): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#run();
    }, delayMs);
  }

  #run(): Promise<boolean> {
    this.#running ??= this.#drain()
      .catch((error: unknown) => {
        this.#reportFailure(error);
        return false;
      })
      .then((written) => {
        this.#running = undefined;
        if (this.pending) this.#schedule(written ? this.#options.flushIntervalMs : RETRY_MS);
        return written;
      });
    return this.#running;
  }

  /** What is put meanwhile is left to the next run, or batches would shrink to a round trip's worth. */
  async #drain(): Promise<boolean> {
    const most = Math.max(this.#dirty.size, this.#removed.size, this.#endings.size);
    for (let done = 0; done < most; done += SLICE) {
      if (!this.#options.canWrite() || !(await this.#writeSlice())) return false;
    }
    return true;
  }

  async #writeSlice(): Promise<boolean> {
    const batch = emptyBatch();
    for (const id of drawn(this.#removed)) batch.fields.push({ id, json: undefined, entry: undefined });
    for (const entry of drawn(this.#dirty)) {
      try {
        const session = entry.connection.session();
        const text = sessionText(session);
        batch.fields.push(this.#field(entry, session, text));
        this.#plan(entry, session, text, batch);
      } catch (error) {
        // One connection that cannot tell its state must not cost the others theirs.
        const fault = { connection: entry.connection.id, error: String(error) };
        this.#options.log.error(fault, "connection state not read");
      }
    }
    for (const ending of this.#endings.values()) {
      if (batch.endings.push(ending) >= SLICE) break;
    }
    for (const { session } of batch.endings) this.#endings.delete(session);
    return this.#keep(await writeBatch(batch, this.#target));
  }

  /** @returns whether nothing failed */
  #keep(failed: Batch): boolean {
    for (const { id, json } of failed.fields) {
      if (json === undefined && this.#options.hashStands()) this.#removed.add(id);
    }
    for (const { entry, session } of failed.ends) entry.stored ??= session;
    for (const ending of failed.endings) {
      if (!this.#endings.has(ending.session)) this.#end(ending);
    }
    const live = [...failed.fields, ...failed.saves, ...failed.ends];
    this.#soil(live);
    return live.length + failed.endings.length === 0;
  }

  /** Read when it is written, not when it changed. */
  #field(entry: Entry, { session }: SessionRecord, text: string): Field {
    const { connection } = entry;
    const { connectedAt, lastActivity } = connection;
    // The session's own fields and some more: making JSON of them once is enough.
    const json =
      `${text.slice(0, -1)},"connectedAt":${connectedAt},"lastActivity":${lastActivity},` +
      `"session":${JSON.stringify(session)}}`;
    entry.written = true;
    return { id: connection.id, json, entry };
  }

  #plan(entry: Entry, session: SessionRecord, text: string, { saves, ends }: Batch): void {
    if (!this.#settle(entry, session)) return;
    if (isWorthKeeping(session)) {
      entry.stored = session.session;
      saves.push({
        session: session.session,
        owner: entry.connection.id,
        generation: entry.generation,
        secretHash: secretHashOf(entry),
        json: text,
        released: false,
        entry,
      });
    } else if (entry.stored !== undefined) {
      ends.push(ownedLive(entry, entry.stored));
      entry.stored = undefined;
    }
  }

  /** To be written again, where it still is the connection's state. */
  #soil(items: readonly { readonly entry: Entry | undefined }[]): void {
    for (const { entry } of items) {
      if (entry !== undefined && this.has(entry)) this.#dirty.add(entry);
    }
  }

  #learn(items: readonly LiveOwnership[], outcomes: readonly Outcome[]): void {
    for (let at = 0; at < items.length; at++) {
      if (outcomes[at] === "done") continue;
      const item = items[at]!;
      const { entry } = item;
      if (!this.has(entry)) continue;
      // Gone: Redis lost it. A take by the entry itself came between: not superseded.
      const current = item.session === entry.stored && item.generation === entry.generation;
      if (outcomes[at] === "superseded" && current) this.supersede(entry.connection.id);
      else this.#soil([item]);
    }
    if (this.#dirty.size > 0) this.#schedule(this.#options.flushIntervalMs);
  }
}

/** Takes up to a slice out of a set. */
function* drawn<T>(set: Set<T>): Generator<T> {
  let left = SLICE;
  for (const item of set) {
    if (left-- === 0) return;
    set.delete(item);
    yield item;
  }
}
