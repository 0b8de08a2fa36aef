import type { Peer, PeerName, ProtocolName } from "../types.js";
import { execArgumentsOf } from "./exec-arguments.js";
import { startNodes } from "./nodes.js";
import { buildServer } from "./server-build.js";
import { startServerProcess } from "./server-process.js";

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
    async start(asked) {
      const { redisUrl, features } = asked;
      const server = await buildServer(options.server);
      try {
        return await startNodes(options, asked, async (nodeName) => {
          const running = await startServerProcess({
            name: nodeName,
            path: server.path,
            arguments: [
              ...(options.arguments ?? []),
              ...(redisUrl === undefined ? [] : ["--redis", redisUrl]),
            ],
            nodePath: features.nodePath,
            execArguments: execArgumentsOf(features),
          });
          return {
            node: { url: `ws://127.0.0.1:${running.port}`, pid: running.pid },
            stop: () => running.stop(),
          };
        });
      } finally {
        // Loaded by now.
        await server.remove();
      }
    },
  };
}
