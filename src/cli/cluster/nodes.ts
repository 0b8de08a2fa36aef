/** The nodes of a cluster: started, started again when one ends, and looked at for who has clients. */

import { startNodeProcess, type NodeProcess } from "../node-process.js";
import { restartDelay, type RestartDelay } from "../restart-delay.js";
import type { FromWorker, ToWorker, Urls } from "../worker-messages.js";

export interface RunningNode {
  readonly id: string;
  readonly pid: number;
  readonly urls: Urls;
  /** Open connections when it was last asked. */
  readonly clients: number;
}

export interface ClusterNodesOptions {
  readonly count: number;
  /** What nodes are called: `-1`, `-2` and so on follow. */
  readonly name: string;
  /** The environment of a node, without its id. @param index  from 0 */
  readonly environment: (index: number) => Record<string, string | undefined>;
  readonly envNameOfId: string;
  readonly onStart: (node: RunningNode) => void;
  /** @param left  how many nodes still serve */
  readonly onEnd: (id: string, pid: number, how: string, left: number, againInMs: number) => void;
}

export interface ClusterNodes {
  /** Those that serve. */
  readonly running: readonly RunningNode[];
  /** Starts all. @returns false where one did not start */
  start(): Promise<boolean>;
  /** Asks each for its clients: `running` tells once they have answered. */
  ask(): void;
  send(message: ToWorker): void;
  stop(killAfterMs: number): Promise<void>;
  kill(): void;
}

interface Place {
  readonly index: number;
  readonly delay: RestartDelay;
  restarts: number;
  process: NodeProcess | undefined;
  urls: Urls | undefined;
  clients: number;
}

const CONNECTIONS = /^starling_connections (\d+)$/m;

export function clusterNodes(options: ClusterNodesOptions): ClusterNodes {
  const places: Place[] = Array.from({ length: options.count }, (_, index) => ({
    index,
    delay: restartDelay(),
    ...{ restarts: 0, process: undefined, urls: undefined, clients: 0 },
  }));
  let stopping = false;

  const running = (): RunningNode[] =>
    places.flatMap(({ process, urls, clients }) =>
      process === undefined || urls === undefined
        ? []
        : [{ id: process.id, pid: process.pid, urls, clients }],
    );

  async function start(place: Place): Promise<boolean> {
    // Under another id than before: the entry of the one that died stands until its lease ends.
    const id = `${options.name}-${place.index + 1}${place.restarts === 0 ? "" : `r${place.restarts}`}`;
    place.delay.started();
    const node = startNodeProcess(
      id,
      { ...options.environment(place.index), [options.envNameOfId]: id },
      { heard: (message) => heard(place, message) },
    );
    place.process = node;
    void node.ended.then((how) => ended(place, node, how));
    const urls = await node.ready;
    if (urls === undefined) return false;
    place.urls = urls;
    options.onStart({ id, pid: node.pid, urls, clients: 0 });
    return true;
  }

  function heard(place: Place, message: FromWorker): void {
    if (message.kind === "metrics") place.clients = Number(CONNECTIONS.exec(message.text)?.[1] ?? 0);
  }

  function ended(place: Place, { id, pid }: NodeProcess, how: string): void {
    // One that never served is a wrong start of the whole.
    const served = place.urls !== undefined || place.restarts > 0;
    place.process = undefined;
    place.urls = undefined;
    place.clients = 0;
    if (!served || stopping) return;
    place.restarts++;
    const againInMs = place.delay.nextMs();
    options.onEnd(id, pid, how, running().length, againInMs);
    setTimeout(() => {
      if (!stopping) void start(place);
    }, againInMs);
  }

  const send = (message: ToWorker): void => places.forEach(({ process }) => process?.send(message));
  return {
    get running() {
      return running();
    },
    async start() {
      return (await Promise.all(places.map(start))).every(Boolean);
    },
    ask: () => send({ kind: "report", id: 0 }),
    send,
    async stop(killAfterMs) {
      stopping = true;
      await Promise.all(places.map(async ({ process }) => process?.stop(killAfterMs)));
    },
    kill: () => places.forEach(({ process }) => process?.kill()),
  };
}
