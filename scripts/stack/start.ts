/** The topology of docker-compose.yml without Docker: Redis, nodes, Envoy and Prometheus as processes. */

import { startEnvoy, type Envoy } from "./envoy.js";
import type { EnvoyConfig } from "./envoy-config.js";
import { nodePlace, type NodePlace } from "./node-place.js";
import { startPrometheus, type Prometheus } from "./prometheus.js";
import { startRedis, type Redis } from "./redis.js";
import { requireProgram } from "./programs.js";

export interface StackOptions {
  readonly nodes: number;
  /** More flags of `starling serve`. */
  readonly nodeFlags?: readonly string[];
  readonly prometheus?: boolean;
  readonly adjustEnvoy?: (config: EnvoyConfig) => void;
  /** Told when a process ends that nobody ended. */
  readonly onExit?: (what: string) => void;
}

export interface Stack {
  readonly redis: Redis;
  readonly nodes: readonly NodePlace[];
  readonly envoy: Envoy;
  readonly prometheus: Prometheus | undefined;
  /** Ends every process. */
  stop(): Promise<void>;
}

/** @throws MissingProgram, or Error with the last words of what did not start; nothing is left then */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { nodeFlags = [], onExit } = options;
  requireProgram("envoy");
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of stops.splice(0).reverse()) await step();
  };
  try {
    const redis = await startRedis(onExit);
    stops.push(() => redis.stop());
    const nodes: NodePlace[] = [];
    for (let number = 1; number <= options.nodes; number++) {
      nodes.push(await nodePlace({ name: `n${number}`, redisUrl: redis.url, flags: nodeFlags, onExit }));
    }
    // Killed: Redis goes with them, so there is nobody for whom they would have to drain.
    stops.push(async () => void (await Promise.all(nodes.map((node) => node.end("SIGKILL")))));
    await Promise.all(nodes.map((node) => node.start()));
    const envoy = await startEnvoy({
      nodes,
      ...(options.adjustEnvoy === undefined ? {} : { adjust: options.adjustEnvoy }),
      ...(onExit === undefined ? {} : { onExit }),
    });
    stops.push(() => envoy.stop());
    let prometheus: Prometheus | undefined;
    if (options.prometheus === true) {
      const targets = {
        starling: nodes.map(({ host, apiPort }) => `${host}:${apiPort}`),
        envoy: [new URL(envoy.metricsUrl).host],
      };
      prometheus = await startPrometheus({ targets, ...(onExit === undefined ? {} : { onExit }) });
      stops.push(() => prometheus!.stop());
    }
    return { redis, nodes, envoy, prometheus, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
