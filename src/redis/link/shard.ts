import { unitAt } from "../../encoding/unit-at.js";

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
