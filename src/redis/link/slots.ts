/** A Cluster's slots: what decides which master has a key or a sharded channel. */

import calculateSlot from "cluster-key-slot";
import type { Cluster } from "ioredis";

/** The part of a name that decides: what is between the first braces, if anything is, else all of it. */
export function hashTag(name: string): string {
  const open = name.indexOf("{");
  if (open === -1) return name;
  const close = name.indexOf("}", open + 1);
  return close === -1 || close === open + 1 ? name : name.slice(open + 1, close);
}

/** As CLUSTER KEYSLOT. */
export function slotOf(name: string): number {
  return calculateSlot(name);
}

/** Asks the Cluster again. Rejects if no node answers. */
export function refreshSlots(cluster: Cluster): Promise<void> {
  return new Promise((resolve, reject) => {
    cluster.refreshSlotsCache((error) => {
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });
}

/** `host:port` of the master that has a slot, as last heard. */
export function ownerOf(cluster: Cluster, slot: number): string | undefined {
  return cluster.slots[slot]?.[0];
}
