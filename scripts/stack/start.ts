/** The topology of docker-compose.yml without Docker: Redis, nodes, Envoy and Prometheus as processes. */

import { setTimeout as delay } from "node:timers/promises";
import { PORTS_BETWEEN_NODES } from "../../src/cli/cluster/ports.js";
import type { EnvoyConfig } from "../../src/cli/programs/envoy-config.js";
import { requirePrograms, type OnExit } from "../../src/cli/programs/program.js";
import { startPrivateRedis, type PrivateRedis } from "../../src/cli/programs/redis.js";
import { restartDelay } from "../../src/cli/restart-delay.js";
import { envoyPlaces, startEnvoy, type Envoy } from "./envoy.js";
import { nodePlace, type NodePlace } from "./node-place.js";
import { startPrometheus, type Prometheus } from "./prometheus.js";

export interface StackOptions {
  readonly nodes: number;
  /** More flags of `starling serve`. */
  readonly nodeFlags?: readonly string[];
  readonly prometheus?: boolean;
  /** Those of docker-compose.yml and `npm run cluster`, each where it is free; without, any. */
  readonly fixedPorts?: boolean;
  readonly adjustEnvoy?: (config: EnvoyConfig) => void;
  /** Told when a process ends that nobody ended. */
  readonly onExit?: OnExit;
  /** Nodes that end are started again; it is told of both. Without, a node's end is told as any other. */
  readonly onNodeRestart?: (what: string) => void;
}

export interface Stack {
  readonly redis: PrivateRedis;
  readonly nodes: readonly NodePlace[];
  readonly envoy: Envoy;
  readonly prometheus: Prometheus | undefined;
  /** Ends every process. */
  stop(): Promise<void>;
}

const FIXED_PORTS = { redis: 16_379, node: 8000, prometheus: 9090 };

/** @throws StartError naming what to install, or with the last words of what did not start; nothing is left then */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { nodeFlags = [], fixedPorts = false, onExit, onNodeRestart } = options;
  requirePrograms("redis-server", "envoy");
  const fixed = (port: number): number | undefined => (fixedPorts ? port : undefined);
  const stops: (() => Promise<void>)[] = [];
  let stopping = false;
  const stop = async (): Promise<void> => {
    stopping = true;
    for (const step of stops.splice(0).reverse()) await step();
  };

  async function placeNode(number: number, redisUrl: string): Promise<NodePlace> {
    const restarts = restartDelay();
    const again = async (what: string, lastWords = ""): Promise<void> => {
      if (stopping) return;
      const delayMs = restarts.nextMs();
      onNodeRestart?.(`${what}; it starts again in ${delayMs / 1000} s${lastWords}`);
      await delay(delayMs);
      if (stopping) return;
      restarts.started();
      try {
        await place.start();
      } catch (error) {
        return again((error as Error).message);
      }
      if (stopping) return place.end("SIGKILL");
      onNodeRestart?.(`${place.name} runs again, pid ${place.pid}`);
    };
    const port = FIXED_PORTS.node + PORTS_BETWEEN_NODES * number;
    const place = await nodePlace({
      name: `n${number}`,
      redisUrl,
      flags: nodeFlags,
      preferredPorts: fixedPorts ? { port, apiPort: port + 1 } : undefined,
      onExit: onNodeRestart === undefined ? onExit : (...told) => void again(...told),
    });
    return place;
  }

  try {
    const redis = await startPrivateRedis({ preferredPort: fixed(FIXED_PORTS.redis), onExit });
    stops.push(() => redis.stop());
    // Before the nodes': node 8 would take 8080 and 8081.
    const places = await envoyPlaces(fixedPorts);
    const nodes: NodePlace[] = [];
    for (let number = 1; number <= options.nodes; number++) nodes.push(await placeNode(number, redis.url));
    // Killed: Redis goes with them, so there is nobody for whom they would have to drain.
    stops.push(async () => void (await Promise.all(nodes.map((node) => node.end("SIGKILL")))));
    await Promise.all(nodes.map((node) => node.start()));
    const envoy = await startEnvoy({ nodes, places, adjust: options.adjustEnvoy, onExit });
    stops.push(() => envoy.stop());
    let prometheus: Prometheus | undefined;
    if (options.prometheus === true) {
      const targets = {
        starling: nodes.map(({ host, apiPort }) => `${host}:${apiPort}`),
        envoy: [new URL(envoy.metricsUrl).host],
      };
      prometheus = await startPrometheus({ targets, preferredPort: fixed(FIXED_PORTS.prometheus), onExit });
      stops.push(() => prometheus!.stop());
    }
    return { redis, nodes, envoy, prometheus, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
