/** The servers that a case runs against: started for it, or attached to. */

import { startPrivateRedis, type PrivateRedis } from "../../src/cli/programs/redis.js";
import type { Peer, PeerFeatures, RunningPeer } from "../types.js";
import type { AttachOptions } from "./options.js";
import { bind } from "./processes.js";
import type { Placement } from "./placement.js";

export interface Target {
  readonly urls: readonly string[];
  /** Empty where the servers are not known, so that their CPU and memory cannot be told. */
  readonly pids: readonly number[];
  readonly redisPid: number | undefined;
  readonly apiUrl: string | undefined;
  /** Of the app, where the protocol signs subscriptions. */
  readonly secret: string | undefined;
  /** Fresh servers, after a load that was too much. Attached servers stay as they are. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface TargetOptions {
  readonly nodes: number;
  readonly redis: boolean;
  readonly features: PeerFeatures;
  readonly placement: Placement | undefined;
}

export async function startTarget(peer: Peer, options: TargetOptions): Promise<Target> {
  const { nodes, features, placement } = options;
  let redis: PrivateRedis | undefined;
  let running: RunningPeer | undefined;

  async function start(): Promise<void> {
    if (options.redis || nodes > 1) {
      redis = await startPrivateRedis();
      if (placement !== undefined) bind(redis.pid, placement.loadCores);
    }
    running = await peer.start({
      nodes,
      features,
      ...(redis !== undefined && { redisUrl: redis.url }),
      ...(placement !== undefined && { cores: placement.serverCores.length }),
    });
    if (placement !== undefined) for (const pid of pids()) bind(pid, placement.serverCores);
  }

  async function stop(): Promise<void> {
    await running?.stop();
    running = undefined;
    await redis?.stop();
    redis = undefined;
  }

  const pids = (): number[] => running!.nodes.flatMap((node) => [...(node.pids ?? [node.pid])]);

  async function startOrCleanUp(): Promise<void> {
    try {
      await start();
    } catch (error) {
      await stop();
      throw error;
    }
  }

  await startOrCleanUp();
  return {
    get urls() {
      return running!.nodes.map(({ url }) => url);
    },
    get pids() {
      return pids();
    },
    get redisPid() {
      return redis?.pid;
    },
    get apiUrl() {
      return running!.nodes[0]!.apiUrl;
    },
    get secret() {
      return running!.secret;
    },
    async restart() {
      await stop();
      await startOrCleanUp();
    },
    stop,
  };
}

export function attachTarget({ urls, pids, apiUrl, secret }: AttachOptions): Target {
  return {
    urls,
    pids,
    redisPid: undefined,
    apiUrl,
    secret,
    restart: async () => Promise.resolve(),
    stop: async () => Promise.resolve(),
  };
}
