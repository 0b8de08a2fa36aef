/** Changes of this node's connections that Redis does not have yet: they are gathered here and written in batches. */

import type { Log } from "../../core/log.js";
import { UNREGISTERED, type RegisteredConnection, type SessionRecord } from "../../core/registry.js";
import { StarlingError } from "../../core/errors.js";
import {
  emptyBatch,
  ownershipOf,
  liveOwnershipOf,
  secretHashOf,
  writeBatch,
  type StateBatch,
  type StateBatchTarget,
  type Ending,
  type LiveOwnership,
} from "./state-batch.js";
import { PendingTakes } from "./pending-takes.js";
import { throttle } from "../link/throttle.js";
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
  hashIsCurrent(): boolean;
  /** One round trip; false: this node's registration lapsed, nothing was written. */
  writeHash(removed: readonly string[], lines: Uint8Array): Promise<boolean>;
  /** All that are put and not removed, and perhaps more. */
  connections(): Iterable<RegisteredConnection>;
  /** Another connection owns the session of this one, which is forgotten here. */
  superseded(connectionId: string): void;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #dirty = new Set<RegisteredConnection>();
  readonly takes = new PendingTakes({
    end: (ending) => this.#endSession(ending),
    settled: (connection) => {
      if (connection.registryState !== "absent") this.#markDirty(connection);
    },
  });
  /** Only what went while the hash stood, so a long outage does not fill it. */
  readonly #removed = new Set<string>();
  /** By session id. */
  readonly #endings = new Map<string, Ending>();
  readonly #target: StateBatchTarget;
  readonly #reportFailure: (error: unknown) => void;
  readonly #reportDropped: () => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<boolean> | undefined;
  /** Who waits until what there is now is written. */
  readonly #waiting = new Set<() => void>();
  #closed = false;
  #touching: Iterator<RegisteredConnection> | undefined;
  #size = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#reportFailure = throttle(REPORT_INTERVAL_MS, (suppressed, error: unknown) => {
      options.log.warn(
        { suppressed, error: String(error) },
        "connection state could not be written to Redis: retrying",
      );
    });
    this.#target = {
      sessions: options.sessions,
      writeHash: (removed, lines) => options.writeHash(removed, lines),
      saved: (saves, outcomes) => this.#applyOutcomes(saves, outcomes),
      failed: (error) => this.#reportFailure(error),
    };
    this.#reportDropped = throttle(REPORT_INTERVAL_MS, (suppressed) => {
      options.log.warn(
        { limit: ENDINGS_MAX, suppressed },
        "sessions that ended while Redis was unreachable were dropped",
      );
    });
  }

  get size(): number {
    return this.#size;
  }

  get pending(): boolean {
    return this.#dirty.size + this.#removed.size + this.#endings.size > 0;
  }

  put(connection: RegisteredConnection): void {
    if (connection.registryState === "absent") {
      connection.registryState = "put";
      this.#size++;
    }
    this.#markDirty(connection);
  }

  remove(connection: RegisteredConnection, resumable: boolean): void {
    if (connection.registryState === "absent") return;
    const session = connection.session();
    if (this.takes.settle(connection, session)) {
      const json = resumable ? sessionJson(session) : undefined;
      if (json !== undefined || connection.storedSession !== undefined)
        this.#endSession({
          ...ownershipOf(connection, session.session),
          secretHash: secretHashOf(connection),
          json,
        });
    } else {
      this.takes.abandon(connection, resumable);
    }
    this.#forget(connection);
  }

  /** Forgets a connection whose session now belongs to another, and reports it. */
  supersede(connection: RegisteredConnection): void {
    if (connection.registryState !== "absent") this.#forget(connection);
    this.#options.superseded(connection.id);
  }

  /** Writes exactly these connections into a hash that was emptied. Rejects if not all was written. */
  async rewrite(): Promise<void> {
    for (const connection of this.#options.connections()) this.put(connection);
    if (!(await this.flush())) throw new Error("not all connections could be written to Redis");
  }

  /** Resolves when what was put before this call is written (true) or could not be (false). */
  async flush(): Promise<boolean> {
    // A run that is under way may have begun before the latest put.
    if (this.#running !== undefined) await this.#running;
    return this.#run();
  }

  /**
   * Resolves when what was put before this call is written, with the next batch: a batch for it alone would part a
   * connect from its subscriptions. undefined: nothing is to be written.
   * @throws StarlingError outcome_unknown after `timeoutMs`
   */
  written(timeoutMs: number): Promise<void> | undefined {
    if (!this.pending && this.#running === undefined) return undefined;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(done);
        reject(
          new StarlingError(
            "outcome_unknown",
            `done on this node, but not recorded in Redis within ${timeoutMs} ms: a resumed session may not know of it`,
          ),
        );
      }, timeoutMs);
      this.#waiting.add(done);
      this.#schedule(this.#options.flushIntervalMs);
    });
  }

  /** Extends a share of the live sessions; called often enough, that reaches each of them in time. */
  async touch(share: number): Promise<void> {
    for (let left = Math.ceil(this.#size * share); left > 0; left -= SLICE) {
      if (!this.#options.canWrite()) return;
      await this.#touchNext(Math.min(left, SLICE));
    }
  }

  async #touchNext(count: number): Promise<void> {
    const items: LiveOwnership[] = [];
    for (let left = count; left > 0; left--) {
      this.#touching ??= this.#options.connections()[Symbol.iterator]();
      const next = this.#touching.next();
      if (next.done === true) {
        this.#touching = undefined;
        break;
      }
      const { storedSession } = next.value;
      if (storedSession !== undefined) items.push(liveOwnershipOf(next.value, storedSession));
    }
    const { sessions } = this.#options;
    await Promise.all(
      sessions.group(items).map(async (group) => {
        try {
          this.#applyOutcomes(group, await sessions.touch(group));
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

  #forget(connection: RegisteredConnection): void {
    const { id, registryState } = connection;
    Object.assign(connection, UNREGISTERED);
    this.#size--;
    this.takes.delete(connection);
    this.#dirty.delete(connection);
    if (registryState !== "written" || !this.#options.hashIsCurrent()) return;
    this.#removed.add(id);
    this.#schedule(this.#options.flushIntervalMs);
  }

  #endSession(ending: Ending): void {
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
        if (this.pending || this.#waiting.size > 0)
          this.#schedule(written ? this.#options.flushIntervalMs : RETRY_MS);
        return written;
      });
    return this.#running;
  }

  /** What is put meanwhile is left to the next run, or batches would shrink to a round trip's worth. */
  async #drain(): Promise<boolean> {
    // Who comes later may wait for what is put meanwhile.
    const waiting = [...this.#waiting];
    const written = await this.#writeAll();
    if (written) for (const done of waiting) done();
    return written;
  }

  async #writeAll(): Promise<boolean> {
    const most = Math.max(this.#dirty.size, this.#removed.size, this.#endings.size);
    for (let done = 0; done < most; done += SLICE) {
      if (!this.#options.canWrite() || !(await this.#writeSlice())) return false;
    }
    return true;
  }

  async #writeSlice(): Promise<boolean> {
    const batch = emptyBatch();
    for (const id of takeSlice(this.#removed)) batch.fields.push({ id, connection: undefined });
    for (const connection of takeSlice(this.#dirty)) {
      try {
        const session = connection.session();
        const json = sessionText(session);
        batch.fields.push({ connection, session: session.session, json });
        connection.registryState = "written";
        this.#addSession(connection, session, json, batch);
      } catch (error) {
        // One connection that cannot tell its state must not cost the others theirs.
        const fault = { connection: connection.id, error: String(error) };
        this.#options.log.error(fault, "the state of a connection could not be read");
      }
    }
    for (const ending of this.#endings.values()) {
      if (batch.endings.push(ending) >= SLICE) break;
    }
    for (const { session } of batch.endings) this.#endings.delete(session);
    return this.#requeue(await writeBatch(batch, this.#target));
  }

  /** @returns whether nothing failed */
  #requeue(failed: StateBatch): boolean {
    for (const field of failed.fields) {
      if (field.connection === undefined && this.#options.hashIsCurrent()) this.#removed.add(field.id);
    }
    for (const { connection, session } of failed.ends) {
      if (connection.registryState !== "absent") connection.storedSession ??= session;
    }
    for (const ending of failed.endings) {
      if (!this.#endings.has(ending.session)) this.#endSession(ending);
    }
    const live = [...failed.fields, ...failed.saves, ...failed.ends];
    for (const { connection } of live) {
      // To be written again, where it still is the connection's state.
      if (connection !== undefined && connection.registryState !== "absent") this.#dirty.add(connection);
    }
    return live.length + failed.endings.length === 0;
  }

  #addSession(
    connection: RegisteredConnection,
    session: SessionRecord,
    json: string,
    { saves, ends }: StateBatch,
  ): void {
    if (!this.takes.settle(connection, session)) return;
    if (isWorthKeeping(session)) {
      connection.storedSession = session.session;
      saves.push({
        session: session.session,
        owner: connection.id,
        generation: connection.storedGeneration,
        secretHash: secretHashOf(connection),
        json,
        released: false,
        connection,
      });
    } else if (connection.storedSession !== undefined) {
      ends.push(liveOwnershipOf(connection, connection.storedSession));
      connection.storedSession = undefined;
    }
  }

  /** Has the connection's state written with the next batch. */
  #markDirty(connection: RegisteredConnection): void {
    this.#dirty.add(connection);
    this.#schedule(this.#options.flushIntervalMs);
  }

  #applyOutcomes(items: readonly LiveOwnership[], outcomes: readonly Outcome[]): void {
    for (let at = 0; at < items.length; at++) {
      if (outcomes[at] === "done") continue;
      const { connection, session, generation } = items[at]!;
      if (connection.registryState === "absent") continue;
      // Gone: Redis lost it. A take by the connection itself came between: not superseded.
      const current = session === connection.storedSession && generation === connection.storedGeneration;
      if (outcomes[at] === "superseded" && current) this.supersede(connection);
      else this.#markDirty(connection);
    }
  }
}

/** Removes up to SLICE items from a set and yields them. */
function* takeSlice<T>(set: Set<T>): Generator<T> {
  let left = SLICE;
  for (const item of set) {
    if (left-- === 0) return;
    set.delete(item);
    yield item;
  }
}
