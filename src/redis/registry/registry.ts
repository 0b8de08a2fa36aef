/** Who is connected where, and sessions that any node can resume, in Redis. */

import { nodeOfConnection } from "../../core/identifiers.js";
import type { Log } from "../../core/log.js";
import type {
  ConnectionRegistry,
  RegisteredConnection,
  RegistryHandlers,
  TakeResult,
  Totals,
} from "../../core/registry.js";
import type { Stats } from "../../core/stats.js";
import { StarlingError } from "../../core/errors.js";
import { secretHashOf } from "./state-batch.js";
import { closeRedis, createRedisClient, isCluster, isReady } from "../link/client.js";
import { connectRedis } from "../link/connect.js";
import { toStarlingError } from "../link/command-failure.js";
import { type RedisOptions } from "../link/redis-options.js";
import { createKeys } from "../link/keys.js";
import { EncodedCall } from "../link/encoded-call.js";
import { Lease } from "./lease.js";
import { Outbox } from "./outbox.js";
import { createReaper } from "./reaper.js";
import type { LearnedFormat } from "../link/fleet-format.js";
import { checkAcl, explainStartFailure } from "../link/acl-check.js";
import { loadScript } from "../link/scripts.js";
import { createSessionStore, hashSecret } from "./sessions.js";

const WRITE = loadScript("connections-write");

/** A client mostly subscribes within this time of its connecting: then both are one write. */
const FLUSH_INTERVAL_MS = 50;
/**
 * A live session is refreshed each half of its time-to-live, in this many shares: with the default one each five
 * seconds. Sixty shares cost 100,000 idle connections half a per cent of a core more.
 */
const TOUCH_SHARES = 12;
const TOUCH_INTERVAL_LEAST_MS = 50;

export interface RedisRegistryOptions {
  readonly nodeId: string;
  readonly redis: RedisOptions;
  /** How long the session of a lost connection can be resumed. */
  readonly sessionTtlMs: number;
  /** A node that is not heard of for this long is dead. */
  readonly leaseTtlMs: number;
  /** Is told the leases of all nodes. */
  readonly format?: LearnedFormat | undefined;
  /** Writes are gathered for this long. */
  readonly flushIntervalMs?: number | undefined;
  readonly stats: Stats;
  readonly log: Log;
  /** Tells another node that the session of one of its connections was resumed. */
  notifySuperseded(nodeId: string, connectionId: string): void;
}

/**
 * start() rejects with REDIS_UNREACHABLE if Redis cannot be reached, with
 * NODE_ID_IN_USE if another node holds the lease of this node's id. Later
 * outages are waited out: live connections stay to be written.
 */
export function createRedisRegistry(options: RedisRegistryOptions): ConnectionRegistry {
  const { nodeId, sessionTtlMs, leaseTtlMs, log, stats } = options;
  const keys = createKeys(options.redis.prefix);
  const redis = createRedisClient(options.redis, "state", log);
  const sessions = createSessionStore(redis, keys, sessionTtlMs);
  const call = new EncodedCall();
  let handlers: RegistryHandlers | undefined;
  let touchTimer: NodeJS.Timeout | undefined;
  let stopping: Promise<void> | undefined;
  /** What a take asked for that had no answer: asking again must find it done. */
  const unanswered = new WeakMap<RegisteredConnection, string>();

  const lease: Lease = new Lease({
    nodeId,
    redis,
    keys,
    leaseTtlMs,
    log,
    announced: async () => {
      try {
        await reaper.look();
      } catch (error) {
        // What is known of the others stays: on a Cluster the master of one of them may be away.
        log.debug({ error: String(error) }, "the leases of all nodes could not be read");
      }
    },
    rewrite: async () => {
      await outbox.rewrite();
      stats.registrySize = outbox.size;
    },
    registered: (registered) => handlers?.registered(registered),
  });
  const outbox = new Outbox({
    flushIntervalMs: options.flushIntervalMs ?? FLUSH_INTERVAL_MS,
    sessions,
    log,
    canWrite: () => isReady(redis) && lease.claimed,
    hashIsCurrent: () => lease.claimed,
    async writeHash(removed, lines) {
      const { value } = lease;
      call.restart(keys.connections(nodeId));
      call.addKey(keys.node(nodeId));
      call.addKey(keys.connections(nodeId));
      for (const argument of [value, lease.hashTtlMs, lines, ...removed]) call.add(argument);
      if ((await call.run(redis, WRITE)) === 1) return true;
      // A write of a former registration says nothing about the present one.
      if (value === lease.value) lease.lapse("a write found the registration missing");
      return false;
    },
    connections: () => handlers?.connections() ?? [],
    superseded(connectionId) {
      stats.registrySize = outbox.size;
      handlers?.superseded(connectionId);
    },
  });
  let isFormatKnown = false;
  const reaper = createReaper({
    nodeId,
    redis,
    keys,
    intervalMs: leaseTtlMs / 2,
    log,
    mayReap: () => lease.settled,
    looked(leases) {
      const { format } = options;
      if (format === undefined) return;
      const before = format.oldest;
      format.learn(leases, performance.now(), leaseTtlMs);
      // What it was before the first look was an assumption.
      const isKnown = isFormatKnown;
      isFormatKnown = true;
      if (!isKnown || format.oldest === before) return;
      log.info({ format: format.oldest, before }, "the format that all nodes of the fleet read has changed");
    },
    died: async (node, stillDead) => handlers?.died?.(node, stillDead),
  });

  async function answered<T>(ask: () => Promise<T>): Promise<T> {
    // A command would connect the client, which start() does.
    if (handlers === undefined) {
      throw new StarlingError("unavailable", "this node is starting: nothing was sent");
    }
    const sent = isReady(redis);
    try {
      return await ask();
    } catch (error) {
      throw toStarlingError(error, sent);
    }
  }

  async function take(session: string, secret: string, by: RegisteredConnection): Promise<TakeResult> {
    outbox.put(by);
    stats.registrySize = outbox.size;
    // A holder on this node may have changed its channels in this very turn.
    await outbox.flush();
    const formerSecretHash = hashSecret(secret);
    const asked = `${session} ${formerSecretHash}`;
    const sent = isReady(redis);
    let taken;
    try {
      const { app, userId } = by.session();
      const owner = { id: by.id, secretHash: secretHashOf(by), app, userId };
      taken = await sessions.take(session, secret, owner, unanswered.get(by) === asked);
    } catch (error) {
      const failure = toStarlingError(error, sent);
      if (failure.code === "outcome_unknown") unanswered.set(by, asked);
      throw failure;
    }
    unanswered.delete(by);
    if (typeof taken === "string") return { taken: undefined, reason: taken };
    const { generation, formerOwner, record } = taken;
    if (by.registryState !== "absent") {
      outbox.takes.record(by, generation, record, formerSecretHash);
    } else {
      outbox.takes.giveBack({ session, owner: by.id, generation }, record, formerSecretHash);
    }
    if (formerOwner !== undefined && formerOwner !== by.id) {
      if (nodeOfConnection(formerOwner) === nodeId) {
        const former = handlers?.connection(formerOwner);
        if (former !== undefined) outbox.supersede(former);
      } else {
        options.notifySuperseded(nodeOfConnection(formerOwner), formerOwner);
      }
    }
    return { taken: record };
  }

  async function end(): Promise<void> {
    clearInterval(touchTimer);
    reaper.stop();
    lease.stop();
    if (isReady(redis)) {
      const timer = { late: undefined as NodeJS.Timeout | undefined };
      const late = new Promise<void>((resolve) => {
        timer.late = setTimeout(resolve, options.redis.commandTimeoutMs);
      });
      const leave = outbox.flush().then(() => lease.end());
      await Promise.race([
        leave.catch((error: unknown) => {
          log.warn({ error: String(error) }, "the registration could not be removed: its lease will expire");
        }),
        late,
      ]);
      clearTimeout(timer.late);
    }
    outbox.close();
    await closeRedis(redis);
  }

  return {
    async start(given) {
      handlers = given;
      await connectRedis(redis, options.redis);
      try {
        await checkAcl(redis, options.redis, isCluster(redis));
        await lease.start();
      } catch (error) {
        lease.stop();
        outbox.close();
        await closeRedis(redis);
        throw explainStartFailure(error, options.redis.url);
      }
      reaper.start();
      const intervalMs = Math.max(TOUCH_INTERVAL_LEAST_MS, sessionTtlMs / 2 / TOUCH_SHARES);
      const share = Math.min(1, intervalMs / (sessionTtlMs / 2));
      touchTimer = setInterval(() => void outbox.touch(share), intervalMs);
    },
    put(connection) {
      if (stopping !== undefined) return;
      outbox.put(connection);
      stats.registrySize = outbox.size;
    },
    remove(connection, resumable) {
      outbox.remove(connection, resumable);
      stats.registrySize = outbox.size;
    },
    recorded: () => outbox.written(options.redis.commandTimeoutMs),
    take,
    nodes: () => answered(() => reaper.living()),
    totals: (): Promise<Totals> =>
      answered(async () => {
        const living = await reaper.living();
        const counts = await Promise.all(living.map((node) => redis.hlen(keys.connections(node))));
        return { nodes: living.length, connections: counts.reduce((sum, count) => sum + count, 0) };
      }),
    stop: () => (stopping ??= end()),
    checkLease: (nowMs) => lease.check(nowMs),
  };
}
