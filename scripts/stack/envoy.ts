/** The real Envoy with envoy.yaml, in front of nodes of this machine. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { localEnvoyConfig, type Endpoint, type EnvoyConfig, type EnvoyPorts } from "./envoy-config.js";
import { answers, freePort, requireProgram, startProgram, type Program } from "./programs.js";

export interface EnvoyOptions {
  readonly nodes: readonly Endpoint[];
  /** Changes what envoy.yaml says: time-outs that are too long for a test. */
  readonly adjust?: (config: EnvoyConfig) => void;
  readonly onExit?: (what: string) => void;
}

export interface Envoy {
  readonly wsUrl: string;
  readonly apiUrl: string;
  readonly metricsUrl: string;
  readonly pid: number;
  /** What it wrote last, the access log among it. */
  readonly log: string;
  /** Of its own numbers, by name, those that match; not as Prometheus sees them. */
  stats(filter: string): Promise<Map<string, number>>;
  /** How many nodes are up in its eyes. */
  healthyNodes(): Promise<number>;
  /** Ends it as fast as the signal does, and starts another at the same ports. */
  restart(signal?: NodeJS.Signals): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Resolves once it listens, which it does when it has checked every node once.
 * @throws MissingProgram, or Error with what Envoy said
 */
export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  requireProgram("envoy");
  const ports: EnvoyPorts = {
    clients: await freePort(),
    api: await freePort(),
    metrics: await freePort(),
    admin: await freePort(),
  };
  const config = await localEnvoyConfig(options.nodes, ports);
  options.adjust?.(config);
  const directory = await mkdtemp(join(tmpdir(), "starling-envoy-"));
  const file = join(directory, "envoy.yaml");
  // JSON is YAML.
  await writeFile(file, JSON.stringify(config));
  const metricsUrl = `http://127.0.0.1:${ports.metrics}/stats/prometheus`;
  const admin = `http://127.0.0.1:${ports.admin}`;
  const launch = (): Promise<Program> =>
    startProgram({
      name: "envoy",
      command: "envoy",
      // Without hot restart, which would share memory with every other Envoy of this machine.
      args: ["-c", file, "--log-level", "warning", "--concurrency", "2", "--disable-hot-restart"],
      isUp: async () => (await answers(`${admin}/ready`)) && (await answers(metricsUrl)),
      onExit: options.onExit,
    });
  let running: Program;
  try {
    running = await launch();
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
  const stats = async (filter: string): Promise<Map<string, number>> => {
    const response = await fetch(`${admin}/stats?filter=${encodeURIComponent(filter)}`);
    const lines = (await response.text()).split("\n").filter((line) => /: \d+$/.test(line));
    return new Map(
      lines.map((line) => {
        const end = line.lastIndexOf(": ");
        return [line.slice(0, end), Number(line.slice(end + 2))];
      }),
    );
  };
  return {
    wsUrl: `ws://127.0.0.1:${ports.clients}`,
    apiUrl: `http://127.0.0.1:${ports.api}`,
    metricsUrl,
    get pid() {
      return running.pid;
    },
    get log() {
      return running.log;
    },
    stats,
    healthyNodes: async () => (await stats("^cluster.nodes.membership_healthy$")).values().next().value ?? 0,
    async restart(signal = "SIGTERM") {
      await running.end(signal);
      running = await launch();
    },
    async stop() {
      await running.end();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
