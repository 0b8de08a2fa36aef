/** Clears up after nodes that died: whoever is first takes one off the list, deletes its hash and has its members leave. */

import type { Log } from "../../core/log.js";
import { isReady, type RedisClient } from "../link/client.js";
import type { ListedLease } from "../link/fleet-format.js";
import type { Keys } from "../link/keys.js";
import { loadScript, runScript } from "../link/scripts.js";

const CLAIM = loadScript("nodes-claim");
const REAP = loadScript("connections-reap");

export interface ReaperOptions {
  readonly nodeId: string;
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** How often it looks, give or take a quarter so that nodes do not look in step. */
  readonly intervalMs: number;
  readonly log: Log;
  /** Whether the nodes that live have had the time to say so: after an outage all leases are gone. */
  mayReap(): boolean;
  /** Called at each look with all that are listed. */
  looked(leases: readonly ListedLease[]): void;
  /** Called once for a node that died. Rejects: called again at the next look. */
  died(node: string, stillDead: () => Promise<boolean>): Promise<void>;
}

export interface Reaper {
  start(): void;
  stop(): void;
  /** Reads the list of nodes and their leases. Rejects as ioredis does. */
  look(): Promise<void>;
  /** @returns ids of the nodes with a standing lease. Rejects as ioredis does. */
  living(): Promise<string[]>;
}

export function createReaper(options: ReaperOptions): Reaper {
  const { nodeId, redis, keys, intervalMs, log } = options;
  /** Claimed by us and not cleared up yet: whoever claims and dies leaves it to the times-to-live. */
  const claimed = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function look(): Promise<{ living: string[]; dead: { node: string; score: string }[] }> {
    // Pairs or flat, as RESP3 or RESP2 is spoken.
    const listed = (await redis.zrange(keys.nodes, "0", "-1", "WITHSCORES")).flat().map(String);
    const nodes: { node: string; score: string }[] = [];
    for (let at = 0; at + 1 < listed.length; at += 2) {
      nodes.push({ node: listed[at]!, score: listed[at + 1]! });
    }
    // One by one: on a Cluster they lie in different slots.
    const leases = await Promise.all(nodes.map(({ node }) => redis.get(keys.node(node))));
    options.looked(nodes.map(({ node }, at) => [node, leases[at]!]));
    return {
      living: nodes.filter((_, at) => leases[at] !== null).map(({ node }) => node),
      dead: nodes.filter((_, at) => leases[at] === null),
    };
  }

  async function reap(): Promise<void> {
    const { dead } = await look();
    for (const { node, score } of dead) {
      // Our own lapse is the lease's to mend.
      if (node === nodeId) continue;
      if ((await runScript(redis, CLAIM, [keys.nodes], [node, score])) === 1) claimed.add(node);
    }
    for (const node of claimed) {
      const held = await runScript(redis, REAP, [keys.node(node), keys.connections(node)], []);
      if (held !== -1) {
        await options.died(node, async () => (await redis.exists(keys.node(node))) === 0);
        log.info({ deadNode: node, connections: held }, "reaped a dead node");
      }
      claimed.delete(node);
    }
  }

  function schedule(): void {
    if (stopped) return;
    timer = setTimeout(() => void round(), intervalMs * (0.75 + Math.random() / 2));
  }

  async function round(): Promise<void> {
    try {
      if (isReady(redis) && options.mayReap()) await reap();
    } catch (error) {
      log.debug({ error: String(error) }, "could not look for dead nodes");
    }
    schedule();
  }

  return {
    start: schedule,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
    look: async () => void (await look()),
    living: async () => (await look()).living,
  };
}
