/** Who is connected, and sessions that can be resumed, for a node alone: nothing outlives the process. */

import { createHash, timingSafeEqual } from "node:crypto";

import {
  maySessionPass,
  type ConnectionRegistry,
  type RegisteredConnection,
  type RegistryHandlers,
  type SessionRecord,
  type TakeRefusal,
  type TakeResult,
} from "../core/registry.js";
import type { Stats } from "../core/stats.js";

export interface MemoryRegistryOptions {
  readonly nodeId: string;
  /** How long the session of a lost connection can be resumed. */
  readonly sessionTtlMs: number;
  readonly stats: Stats;
  /** Milliseconds that only go up; performance.now() by default. */
  readonly now?: (() => number) | undefined;
}

/** Sessions without a connection, about 30 MB; past it the oldest end early. */
const RELEASED_MAX = 100_000;

interface Live {
  connection: RegisteredConnection;
  /** Id of the session that it has. */
  session: string;
  taken: PendingTake | undefined;
}

/** A session that was taken, until it is known whether the connection goes on with it. */
interface PendingTake {
  readonly record: SessionRecord;
  /** That took it: the client has no other until it hears that it resumed. */
  readonly secret: string;
  /** Whether core had its turn to go on with it. */
  settled: boolean;
}

interface Released {
  readonly record: SessionRecord;
  readonly secret: string;
  readonly expiresAtMs: number;
}

export function createMemoryRegistry(options: MemoryRegistryOptions): ConnectionRegistry {
  const { nodeId, sessionTtlMs, stats } = options;
  const now = options.now ?? (() => performance.now());
  /** By connection id, and the same by session id. */
  const live = new Map<string, Live>();
  const holders = new Map<string, Live>();
  /** In the order of their ends, as all live equally long. */
  const released = new Map<string, Released>();
  let handlers: RegistryHandlers | undefined;
  let sweeper: NodeJS.Timeout | undefined;

  function sweep(): void {
    const nowMs = now();
    for (const [session, { expiresAtMs }] of released) {
      if (expiresAtMs > nowMs && released.size <= RELEASED_MAX) break;
      released.delete(session);
    }
  }

  function put(connection: RegisteredConnection): Live {
    let held = live.get(connection.id);
    if (held === undefined) {
      held = { connection, session: connection.sessionId, taken: undefined };
      live.set(connection.id, held);
      holders.set(held.session, held);
    }
    held.connection = connection;
    settle(held);
    stats.registrySize = live.size;
    return held;
  }

  function forget(held: Live): void {
    live.delete(held.connection.id);
    if (holders.get(held.session) === held) holders.delete(held.session);
    stats.registrySize = live.size;
  }

  function release(record: SessionRecord, secret: string): void {
    if (isEmpty(record)) return;
    released.delete(record.session);
    released.set(record.session, {
      record: { ...record, channels: [...record.channels] },
      secret,
      expiresAtMs: now() + sessionTtlMs,
    });
    sweep();
  }

  /** What the session holds now, and the secret that its client can know. */
  function state(held: Live): { record: SessionRecord; secret: string } {
    settle(held);
    return held.taken ?? { record: held.connection.session(), secret: held.connection.resumeSecret };
  }

  /** A taken session that the connection did not go on with is given back. */
  function settle(held: Live): void {
    const { taken } = held;
    if (taken === undefined) return;
    const own = held.connection.sessionId;
    if (own !== held.session) {
      if (!taken.settled) return;
      holders.delete(held.session);
      release(taken.record, taken.secret);
      held.session = own;
      holders.set(own, held);
    }
    held.taken = undefined;
  }

  function take(session: string, secret: string, by: RegisteredConnection): TakeResult {
    const taker = put(by);
    const holder = holders.get(session);
    let record: SessionRecord;
    if (holder !== undefined) {
      const held = state(holder).record;
      record = { ...held, channels: [...held.channels] };
      if (isEmpty(record)) return refused("unknown_session");
      if (!same(secret, holder.connection.resumeSecret)) return refused("wrong_secret");
      if (!maySessionPass(record, by.session())) return refused("another_user");
    } else {
      const kept = released.get(session);
      if (kept === undefined || kept.expiresAtMs <= now()) return refused("unknown_session");
      if (!same(secret, kept.secret)) return refused("wrong_secret");
      record = kept.record;
      if (!maySessionPass(record, by.session())) return refused("another_user");
      released.delete(session);
    }
    if (holders.get(taker.session) === taker) holders.delete(taker.session);
    taker.session = session;
    const pendingTake = { record, secret, settled: false };
    taker.taken = pendingTake;
    // Core goes on with it in the turn in which the take is answered, or not at all.
    setImmediate(() => {
      pendingTake.settled = true;
      if (live.get(by.id) === taker) settle(taker);
    });
    holders.set(session, taker);
    if (holder !== undefined && holder !== taker) {
      forget(holder);
      handlers?.superseded(holder.connection.id);
    }
    return { taken: record };
  }

  return {
    start(given) {
      handlers = given;
      for (const connection of given.connections()) put(connection);
      sweeper = setInterval(sweep, sessionTtlMs);
      sweeper.unref();
      given.registered(true);
      return Promise.resolve();
    },
    put: (connection) => void put(connection),
    recorded: () => undefined,
    remove(connection, resumable) {
      const held = live.get(connection.id);
      if (held === undefined) return;
      const { record, secret } = state(held);
      forget(held);
      if (resumable) release(record, secret);
    },
    take: (session, secret, by) =>
      new Promise((resolve) => {
        resolve(take(session, secret, by));
      }),
    checkLease: () => true,
    nodes: () => Promise.resolve([nodeId]),
    totals: () => Promise.resolve({ nodes: 1, connections: live.size }),
    stop() {
      clearInterval(sweeper);
      live.clear();
      holders.clear();
      released.clear();
      stats.registrySize = 0;
      return Promise.resolve();
    },
  };
}

function refused(reason: TakeRefusal): TakeResult {
  return { taken: undefined, reason };
}

/** Gives nothing back: not kept. */
function isEmpty(record: SessionRecord): boolean {
  return record.userId === null && record.channels.length === 0;
}

/** Takes the same time wherever the two differ. */
function same(shown: string, secret: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(shown), digest(secret));
}
