import { unitAt } from "../../encoding/unit-at.js";

/**
 * Every name that Starling uses in Redis. `prefix` is "ws:" unless configured.
 * @param cluster  a script's keys and the channel that it publishes to must share a slot
 */
export function createKeys(prefix: string, cluster = false) {
  const sessionPrefixes = Array.from(
    { length: SESSION_BUCKETS },
    (_, bucket) => `${prefix}session:{s${String(bucket).padStart(2, "0")}}:`,
  );
  const sessionPrefix = (session: string): string => sessionPrefixes[sessionBucket(session)]!;
  // 2: the layout. Nodes of another one keep a record of their own, rather than each undoing the other's.
  const presencePrefix = (shard: number): string => `${prefix}presence:{p${shard}}:2:`;
  return {
    /** Hash: connection id -> ConnectionRecord as JSON. */
    connections: (node: string) => `${prefix}connections:${node}`,
    /** String with a time-to-live: the node's lease, tagged into the slot of its connections. */
    node: (node: string) => `${prefix}node:{${prefix}connections:${node}}`,
    /** Sorted set: ids of the nodes that registered, by Redis's clock at the last renewal. */
    nodes: `${prefix}nodes`,
    /** String: one session, as lua/session-save.lua lays it out; one slot per bucket. */
    session: (session: string) => sessionPrefix(session) + session,
    /** What stands before the session in its name. */
    sessionPrefix,
    /** Hash: settings that must be one for all nodes. */
    fleet: `${prefix}fleet`,

    /** What a shard's presence is kept in, as lua/presence-step.lua describes it: one slot. */
    presence: (shard: number) =>
      ["members", "expiries", "users", "due", "epoch", "infos"].map((name) => presencePrefix(shard) + name),
    /** Channel: joins and leaves, in the slot of the shard's presence. */
    presenceEvents: (shard: number) => `${presencePrefix(shard)}events`,

    /** Stream: what a channel keeps; an entry's id is `0-<offset>`. One slot per bus shard. */
    history: (shard: number, key: string) => `${prefix}history:{h${shard}}:${key}`,
    /** Hash: epoch and last offset of the channel, as lua/history-channel.lua describes it. */
    meta: (shard: number, key: string) => `${prefix}meta:{h${shard}}:${key}`,
    /** String with a time-to-live: `<offset> <epoch>` of the publication that had this id. */
    once: (shard: number, key: string, messageId: string) => `${prefix}once:{h${shard}}:${key}:${messageId}`,

    /** Channel: publication envelopes; on a Cluster in the slot of the shard's histories. */
    bus: (shard: number) => `${prefix}bus:${cluster ? `{h${shard}}` : shard}`,
    /** Channel: commands and questions to every node. */
    control: `${prefix}control`,
    /** Channel: answers to one node. */
    inbox: (node: string) => `${prefix}node:${node}:inbox`,
    /**
     * Channel: what a node sends to itself to see that the link works; on a Cluster one in each
     * slot that has channels, `tag` being the part of those channels' names that decides the slot.
     */
    probe: (node: string, tag?: string) =>
      `${prefix}node:${node}:probe${tag === undefined ? "" : `:{${tag}}`}`,
  } as const;
}

export type Keys = ReturnType<typeof createKeys>;

/** Scripts work on many sessions at once, and in Cluster all their keys must share a slot. */
export const SESSION_BUCKETS = 16;

export function sessionBucket(session: string): number {
  return shardOf(session, SESSION_BUCKETS);
}

/**
 * Which of so many carries a channel, or holds a session: FNV-1a of its name's UTF-16 units. Every node must
 * compute the same.
 */
export function shardOf(key: string, shards: number): number {
  if (shards === 1) return 0;
  const { length } = key;
  let hash = 0x811c9dc5;
  for (let at = 0; at < length; at++) {
    hash = Math.imul(hash ^ unitAt(key, at), 0x01000193);
  }
  return (hash >>> 0) % shards;
}
