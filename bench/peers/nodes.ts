/** What peers of several nodes have in common. */

import type { Peer, PeerStartOptions, RunningNode, RunningPeer } from "../types.js";

/** Nobody runs more on one machine. */
export const MANY_NODES = 16;

export interface StartedNode {
  readonly node: RunningNode;
  stop(): Promise<void>;
}

/**
 * Starts the nodes side by side, each under a name for messages.
 * @throws Error where it cannot run as so many; what the first node that failed threw, once the others have ended
 */
export async function startNodes(
  { name, maxNodes }: Pick<Peer, "name" | "maxNodes">,
  { nodes, redisUrl }: Pick<PeerStartOptions, "nodes" | "redisUrl">,
  start: (nodeName: string) => Promise<StartedNode>,
): Promise<RunningPeer> {
  if (nodes < 1 || nodes > maxNodes) {
    throw new Error(`${name} cannot run as ${nodes} nodes: 1 to ${maxNodes}`);
  }
  if (nodes > 1 && redisUrl === undefined) {
    throw new Error(`${name} was asked for ${nodes} nodes without a Redis: only one joins them`);
  }
  const started = await Promise.allSettled(
    Array.from({ length: nodes }, async (_, at) => start(nodes === 1 ? name : `${name} node ${at + 1}`)),
  );
  const running = started.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((each) => each.stop()));
  };
  const failed = started.find((each) => each.status === "rejected");
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  return { nodes: running.map(({ node }) => node), stop };
}
