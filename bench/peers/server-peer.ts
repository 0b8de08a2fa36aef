import type { Peer, PeerName, ProtocolName, RunningNode } from "../types.js";
import { execArgumentsOf } from "./exec-arguments.js";
import { buildServer } from "./server-build.js";
import { startServerProcess, type ServerProcess } from "./server-process.js";

/** Nobody runs more on one machine. */
export const MANY_NODES = 16;

export interface ServerPeerOptions {
  readonly name: PeerName;
  readonly description: string;
  readonly protocol: ProtocolName;
  readonly maxNodes: number;
  /** A module of bench/peers/servers, without its ending. */
  readonly server: string;
  readonly arguments?: readonly string[];
}

/** A peer whose node is one of the programs in bench/peers/servers. */
export function serverPeer(options: ServerPeerOptions): Peer {
  const { name, description, protocol, maxNodes } = options;
  return {
    name,
    description,
    protocol,
    maxNodes,
    has: [],
    async start({ nodes, redisUrl, features }) {
      if (nodes < 1 || nodes > maxNodes) {
        throw new Error(`${name} cannot run as ${nodes} nodes: 1 to ${maxNodes}`);
      }
      if (nodes > 1 && redisUrl === undefined) {
        throw new Error(`${name} was asked for ${nodes} nodes without a Redis: only one joins them`);
      }
      const server = await buildServer(options.server);
      try {
        const execArguments = execArgumentsOf(features);
        const started = await Promise.allSettled(
          Array.from({ length: nodes }, (_, at) =>
            startServerProcess({
              name: nodes === 1 ? name : `${name} node ${at + 1}`,
              path: server.path,
              arguments: [
                ...(options.arguments ?? []),
                ...(redisUrl === undefined ? [] : ["--redis", redisUrl]),
              ],
              nodePath: features.nodePath,
              execArguments,
            }),
          ),
        );
        const running = started.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
        const stop = (): Promise<void> => stopAll(running);
        const failed = started.find((each) => each.status === "rejected");
        if (failed !== undefined) {
          await stop();
          throw failed.reason;
        }
        return { nodes: running.map(nodeOf), stop };
      } finally {
        // Loaded by now.
        await server.remove();
      }
    },
  };
}

const nodeOf = ({ port, pid }: ServerProcess): RunningNode => ({ url: `ws://127.0.0.1:${port}`, pid });

async function stopAll(running: readonly ServerProcess[]): Promise<void> {
  await Promise.all(running.map((each) => each.stop()));
}
