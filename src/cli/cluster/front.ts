/** The one address in front of a cluster's nodes: Envoy where it is there, else a TCP balancer of this process. */

import { isIPv4 } from "node:net";
import type { Config } from "../../config/options.js";
import { freePort } from "../ports.js";
import { launchEnvoy } from "../programs/envoy.js";
import { hasProgram, howToInstall, type Program } from "../programs/program.js";
import { restartDelay } from "../restart-delay.js";
import { NODE_HOST, type ClusterPorts } from "./ports.js";
import { startTcpBalancer, type Target } from "./tcp-balancer.js";

export interface Front {
  stop(): Promise<void>;
}

/** @returns why it is not Envoy; undefined where it is */
export function whyNoEnvoy({ host, apiHost, tlsCertFile }: Config): string | undefined {
  if (!hasProgram("envoy")) return howToInstall("envoy");
  if (tlsCertFile !== undefined) return "the nodes do TLS themselves, which envoy.yaml does not";
  const name = [host, apiHost].find((address) => !isIPv4(address));
  return name === undefined ? undefined : `${name} is no IPv4 address, which envoy.yaml needs`;
}

/** @throws StartError */
export async function startBalancer(
  { host, apiHost }: Config,
  { front, nodes }: ClusterPorts,
): Promise<Front> {
  const at = (port: number): Target => ({ host: NODE_HOST, port });
  const balancers = await Promise.all([
    startTcpBalancer(
      { host, port: front.port },
      nodes.map(({ port }) => at(port)),
    ),
    startTcpBalancer(
      { host: apiHost, port: front.apiPort },
      nodes.map(({ apiPort }) => at(apiPort)),
    ),
  ]);
  return {
    stop: () => {
      for (const balancer of balancers) balancer.stop();
      return Promise.resolve();
    },
  };
}

/**
 * Starts it again when it ends.
 * @param say  told that it ended
 * @throws StartError with what Envoy said
 */
export async function startEnvoyFront(
  { host, apiHost }: Config,
  { front, nodes }: ClusterPorts,
  say: (line: string) => void,
): Promise<Front> {
  const places = {
    clients: { host, port: front.port },
    api: { host: apiHost, port: front.apiPort },
    metrics: { host: NODE_HOST, port: await freePort() },
    admin: { host: NODE_HOST, port: await freePort() },
  };
  const delay = restartDelay();
  let running: Program | undefined;
  let stopping = false;

  async function launch(): Promise<void> {
    delay.started();
    const endpoints = nodes.map((ports) => ({ host: NODE_HOST, ...ports }));
    running = await launchEnvoy({ nodes: endpoints, places, onExit: again });
    if (stopping) await running.end();
  }

  function again(what: string): void {
    running = undefined;
    if (stopping) return;
    const delayMs = delay.nextMs();
    say(`${what}; it starts again in ${delayMs / 1000} s`);
    setTimeout(() => {
      if (!stopping) launch().catch((error: unknown) => again((error as Error).message));
    }, delayMs);
  }

  await launch();
  return {
    async stop() {
      stopping = true;
      await running?.end();
    },
  };
}
