/** One port in front of several: each connection goes to the next node that accepts it. */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { pipeline } from "node:stream";

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** @throws Error where it cannot listen there */
export async function startTcpBalancer(
  listen: Target,
  targets: readonly Target[],
): Promise<{ stop(): void }> {
  let turn = 0;
  const clients = new Set<Socket>();
  // Paused: nothing is read before there is a node to read it.
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (client) => {
    clients.add(client);
    client.on("error", () => undefined); // "close" follows
    client.once("close", () => clients.delete(client));
    const first = turn++ % targets.length;
    forward(client, [...targets.slice(first), ...targets.slice(0, first)]);
  });
  server.listen({ ...listen, exclusive: true });
  await once(server, "listening");
  return {
    stop() {
      server.close();
      for (const client of clients) client.destroy();
    },
  };
}

/** To the first of the nodes that accepts; one that was killed refuses at once. */
function forward(client: Socket, [target, ...others]: readonly Target[]): void {
  if (target === undefined || client.destroyed) {
    client.destroy();
    return;
  }
  const node = connect({ ...target, allowHalfOpen: true, noDelay: true });
  const refused = (): void => forward(client, others);
  const left = (): void => void node.destroy();
  node.once("error", refused);
  client.once("close", left);
  node.once("connect", () => {
    node.off("error", refused);
    client.off("close", left);
    // Where one side fails the other is cut too; what was sent before an orderly end arrives.
    const ended = (): void => undefined;
    pipeline(client, node, ended);
    pipeline(node, client, ended);
    node.once("close", () => client.destroySoon());
  });
}
