/** Who the registry and the nodes of a fleet say is there once a run has come to rest: evidence for the checkers. */

import type { Redis } from "ioredis";
import { Asker } from "./asker.js";
import type { PresenceRecord } from "./checker.js";
import { until } from "./clients.js";
import type { FleetNode } from "./fleet.js";
import type { RegistryRecord } from "./registry-checker.js";

/** Where the nodes keep who is connected to each. */
const HASHES = "ws:connections:";
/** A dead node's hash is gone once its lease is over, by default 10 s, and a reaper passed. */
const REAPED_MS = 30_000;
/** A member of a killed node is gone once its time-to-live is over, by default a minute, and a reaper passed. */
const PRESENCE_MS = 90_000;
const MEMBERS_MAX = 1_000;

export interface FleetState<Record_> {
  readonly records: readonly Record_[];
  /** Whether it came to be so many in time. */
  readonly agrees: boolean;
}

/** What the registry has, once the dead are reaped or the time in which they must be is over. */
export async function readHashes(
  nodes: readonly FleetNode[],
  look: Redis,
  clients: number,
): Promise<FleetState<RegistryRecord>> {
  const ids = nodes.map(({ id }) => id);
  let hashes: { node: string; connections: string[] }[] = [];
  const read = async (key: string): Promise<{ node: string; connections: string[] }> => ({
    node: key.slice(HASHES.length),
    connections: await look.hkeys(key),
  });
  const agrees = await until(async () => {
    hashes = await Promise.all((await look.keys(`${HASHES}*`)).map(read));
    const count = hashes.reduce((sum, { connections }) => sum + connections.length, 0);
    return count === clients && hashes.every(({ node }) => ids.includes(node));
  }, REAPED_MS);
  const of = hashes.map((hash) => ({ kind: "hash", ...hash }) as const);
  return { agrees, records: [{ kind: "living", nodes: ids }, ...of] };
}

/**
 * Until every node says what is so, or the time in which it must is over; the last answer is judged.
 * @param members  of all channels together
 * @returns undefined: a node does not say
 */
export async function readPresence(
  nodes: readonly FleetNode[],
  channels: readonly string[],
  secret: string,
  members: number,
): Promise<FleetState<PresenceRecord> | undefined> {
  const askers = await Promise.all(nodes.map(({ wsUrl }) => Asker.open(wsUrl, "asker", secret)));
  try {
    let lists: (readonly string[] | undefined)[][] = [];
    const agrees = await until(async () => {
      lists = await Promise.all(
        askers.map((asker) => Promise.all(channels.map((channel) => connectionsIn(asker, channel)))),
      );
      const counts = lists.map((list) => list.reduce((sum, of) => sum + (of?.length ?? 0), 0));
      return lists.flat().includes(undefined) || counts.every((count) => count === members);
    }, PRESENCE_MS);
    if (lists.flat().includes(undefined)) return undefined;
    const records = lists.flatMap((list, index) =>
      list.map((connections, at): PresenceRecord => {
        return {
          kind: "presence",
          node: nodes[index]!.name,
          channel: channels[at]!,
          connections: connections!,
        };
      }),
    );
    return { agrees, records };
  } finally {
    for (const asker of askers) asker.close();
  }
}

/** @returns undefined where the node does not say */
async function connectionsIn(asker: Asker, channel: string): Promise<readonly string[] | undefined> {
  const answer = await asker.ask({ action: "presence", channel, limit: MEMBERS_MAX });
  return (answer?.["members"] as { connection: string }[] | undefined)?.map(({ connection }) => connection);
}
