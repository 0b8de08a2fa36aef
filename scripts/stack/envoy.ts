/** Envoy as the stack and the tests have it: on ports of their own, with what it tells of itself. */

import { freePort } from "../../src/cli/ports.js";
import type { EnvoyPlaces } from "../../src/cli/programs/envoy-config.js";
import { launchEnvoy, metricsUrl, urlAt, type EnvoyOptions } from "../../src/cli/programs/envoy.js";

export interface StackEnvoyOptions extends Omit<EnvoyOptions, "places"> {
  /** Any, without. */
  readonly places?: EnvoyPlaces;
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

const HOST = "127.0.0.1";
const FIXED_PORTS = { clients: 8080, api: 8081, metrics: 9902, admin: 9901 };

/** @param fixedPorts  those of docker-compose.yml, each where it is free */
export async function envoyPlaces(fixedPorts: boolean): Promise<EnvoyPlaces> {
  const place = async (name: keyof typeof FIXED_PORTS): Promise<{ host: string; port: number }> => ({
    host: HOST,
    port: await freePort(fixedPorts ? FIXED_PORTS[name] : undefined),
  });
  return {
    clients: await place("clients"),
    api: await place("api"),
    metrics: await place("metrics"),
    admin: await place("admin"),
  };
}

/** @throws StartError naming what to install, or what Envoy said */
export async function startEnvoy({ places: given, ...options }: StackEnvoyOptions): Promise<Envoy> {
  const places = given ?? (await envoyPlaces(false));
  let running = await launchEnvoy({ ...options, places });
  const stats = async (filter: string): Promise<Map<string, number>> => {
    const response = await fetch(`${urlAt(places.admin)}/stats?filter=${encodeURIComponent(filter)}`);
    const lines = (await response.text()).split("\n").filter((line) => /: \d+$/.test(line));
    return new Map(
      lines.map((line) => {
        const end = line.lastIndexOf(": ");
        return [line.slice(0, end), Number(line.slice(end + 2))];
      }),
    );
  };
  return {
    wsUrl: `ws://${HOST}:${places.clients.port}`,
    apiUrl: urlAt(places.api),
    metricsUrl: metricsUrl(places),
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
      running = await launchEnvoy({ ...options, places });
    },
    stop: () => running.end(),
  };
}
