/** The one address in front of a cluster's nodes: Envoy where it is there, else a TCP balancer of this process. */

import { isIPv4 } from "node:net";
import type { Config } from "../../config/options.js";
import { freePort } from "../ports.js";
import { launchEnvoy, whyEnvoyCannotRun, type EnvoyOptions } from "../programs/envoy.js";
import { hasProgram, howToInstall, type Program } from "../programs/program.js";
import { restartDelay } from "../restart-delay.js";
import { StartError } from "../start-error.js";
import { NODE_HOST, type ClusterPorts } from "./ports.js";
import { startTcpBalancer, type Target } from "./tcp-balancer.js";

export interface Front {
  stop(): Promise<void>;
}

/** What Envoy gets to know. */
type EnvoyFront = Pick<EnvoyOptions, "nodes" | "places">;

export async function envoyFront(
  { host, apiHost }: Config,
  { front, nodes }: ClusterPorts,
): Promise<EnvoyFront> {
  return {
    nodes: nodes.map((ports) => ({ host: NODE_HOST, ...ports })),
    places: {
      clients: { host, port: front.port },
      api: { host: apiHost, port: front.apiPort },
      metrics: { host: NODE_HOST, port: await freePort() },
      admin: { host: NODE_HOST, port: await freePort() },
    },
  };
}

/** @returns why it is not Envoy; undefined where it is */
export async function whyNoEnvoy(
  { host, apiHost, tlsCertFile }: Config,
  front: EnvoyFront,
): Promise<string | undefined> {
  if (!hasProgram("envoy")) return howToInstall("envoy");
  if (tlsCertFile !== undefined) return "the nodes do TLS themselves, which envoy.yaml does not";
  const name = [host, apiHost].find((address) => !isIPv4(address));
  if (name !== undefined) return `${name} is no IPv4 address, which envoy.yaml needs`;
  return whyEnvoyCannotRun(front);
}

/** @throws StartError */
export async function startBalancer(
  { host, apiHost }: Config,
  { front, nodes }: ClusterPorts,
): Promise<Front> {
  const at = (port: number): Target => ({ host: NODE_HOST, port });
  const start = (listen: Target, ports: readonly number[]): ReturnType<typeof startTcpBalancer> =>
    startTcpBalancer(listen, ports.map(at)).catch((error: unknown) => {
      const { message } = error as Error;
      throw new StartError(`cannot start: ${message}; stop what has the port, or name another`, {
        cause: error,
      });
    });
  const balancers = await Promise.all([
    start(
      { host, port: front.port },
      nodes.map(({ port }) => port),
    ),
    start(
      { host: apiHost, port: front.apiPort },
      nodes.map(({ apiPort }) => apiPort),
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
export async function startEnvoyFront(front: EnvoyFront, say: (line: string) => void): Promise<Front> {
  const delay = restartDelay();
  let running: Program | undefined;
  let stopping = false;

  async function launch(): Promise<void> {
    delay.started();
    running = await launchEnvoy({ ...front, onExit: again });
    if (stopping) await running.end();
  }

  function again(what: string, lastWords = ""): void {
    running = undefined;
    if (stopping) return;
    const delayMs = delay.nextMs();
    say(`${what}; it starts again in ${delayMs / 1000} s${lastWords}`);
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
