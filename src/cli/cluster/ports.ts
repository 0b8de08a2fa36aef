/** Which ports a cluster takes: one address in front, and two for each node behind it. */

import { ConfigError, type LoadedConfig } from "../../config/load.js";
import { freePort, isFree } from "../ports.js";
import { StartError } from "../start-error.js";

/** Node 1 is at 8010 and 8011 behind 8000 and 8001, node 2 at 8020 and 8021. */
export const PORTS_BETWEEN_NODES = 10;
/** Of the nodes: who comes from elsewhere comes by the front. */
export const NODE_HOST = "127.0.0.1";

export interface PortPair {
  readonly port: number;
  readonly apiPort: number;
}

export interface ClusterPorts {
  readonly front: PortPair;
  readonly nodes: readonly PortPair[];
}

/**
 * Chosen here where they may be any: the front has to know them before the nodes start.
 * @throws ConfigError where there is no such port, or one is meant twice; StartError where somebody has one
 */
export async function clusterPorts({ config, origins }: LoadedConfig, count: number): Promise<ClusterPorts> {
  const { host, apiHost, port } = config;
  // With any port for clients, the API's is any too unless it is said.
  const apiPort = port === 0 && origins.apiPort.kind === "default" ? 0 : config.apiPort;
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const behind = (first: number, number: number): number =>
    first === 0 ? 0 : first + PORTS_BETWEEN_NODES * number;
  const nodes = numbers.map((number) => ({ port: behind(port, number), apiPort: behind(apiPort, number) }));

  const wanted = [
    { host, port },
    { host: apiHost, port: apiPort },
    ...nodes.flatMap((node) => [
      { host: NODE_HOST, port: node.port },
      { host: NODE_HOST, port: node.apiPort },
    ]),
  ].filter((place) => place.port !== 0);
  const all = wanted.map((place) => place.port);
  const rule = `${count} nodes take every tenth port above --port ${port} and --api-port ${apiPort}`;
  const tooHigh = all.find((taken) => taken > 65_535);
  if (tooHigh !== undefined) throw new ConfigError(`port ${tooHigh} is over 65535: ${rule}`);
  const twice = all.find((taken, index) => all.indexOf(taken) !== index);
  if (twice !== undefined) throw new ConfigError(`port ${twice} would be used twice: ${rule}`);
  const free = await Promise.all(wanted.map((place) => isFreeHere(place)));
  const inUse = wanted.filter((_, index) => free[index] === false).map((place) => place.port);
  if (inUse.length > 0) {
    throw new StartError(
      `cannot start: ${inUse.length === 1 ? "port" : "ports"} ${inUse.join(", ")} in use: ${rule}; ` +
        "stop what has them, or name other ports",
    );
  }

  const given = async (taken: number): Promise<number> => (taken === 0 ? freePort() : taken);
  const pair = async (ports: PortPair): Promise<PortPair> => ({
    port: await given(ports.port),
    apiPort: await given(ports.apiPort),
  });
  return { front: await pair({ port, apiPort }), nodes: await Promise.all(nodes.map(pair)) };
}

async function isFreeHere({ host, port }: { host: string; port: number }): Promise<boolean> {
  try {
    return await isFree(port, host);
  } catch (error) {
    const { message } = error as Error;
    throw new StartError(`cannot start: cannot listen on ${host}:${port}: ${message}`, { cause: error });
  }
}
