/** Whether a server that answers can serve: it may still load its data, or have lost its master. */

import type { Redis } from "ioredis";

/**
 * @param ofCluster  whether it must be a node of a Cluster; may then be a replica too
 * @returns what keeps it from serving, worded as its own replies are
 * @throws what ioredis throws
 */
export async function troubleOf(server: Redis, ofCluster: boolean): Promise<Error | undefined> {
  const info = fieldsOf(await server.info());
  if (info.get("loading") === "1") {
    const seconds = info.get("loading_eta_seconds");
    return new Error(
      `LOADING Redis is loading its data${seconds === undefined ? "" : `, for another ${seconds} s`}`,
    );
  }
  if (!ofCluster && info.get("role") === "slave") {
    if (info.get("master_link_status") === "down") {
      return new Error("MASTERDOWN it is a replica that has lost its master");
    }
    if (info.get("slave_read_only") === "1")
      return new Error("READONLY it is a replica, which takes no writes");
  }
  // A proxy before a Cluster may call itself otherwise, so where one is expected it is asked.
  if (!ofCluster && info.get("redis_mode") !== "cluster") return undefined;
  const state = fieldsOf(await server.cluster("INFO")).get("cluster_state");
  return state === "fail" ? new Error("CLUSTERDOWN cluster_state is fail") : undefined;
}

function fieldsOf(text: string): Map<string, string> {
  return new Map(
    text.split("\r\n").flatMap((line) => {
      const colon = line.indexOf(":");
      return colon === -1 ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const];
    }),
  );
}
