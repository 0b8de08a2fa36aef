/** The shared connection state of the textbook architecture: each connection's node and channels in a field of one hash in Redis. */

import { Redis } from "ioredis";
import { nodeId } from "./frames.js";
import { STATE } from "./process.js";

export interface ConnectionState {
  put(connection: string, channels: Iterable<string>): void;
  remove(connection: string): void;
}

/** @returns undefined without a Redis: no other node asks */
export function openConnectionState(redisUrl: string | undefined): ConnectionState | undefined {
  if (redisUrl === undefined) return undefined;
  const redis = new Redis(redisUrl);
  const key = `${STATE}:${nodeId}`;
  return {
    put: (connection, channels) =>
      void redis.hset(
        key,
        connection,
        JSON.stringify({ node: nodeId, channels: [...channels], at: Date.now() }),
      ),
    remove: (connection) => void redis.hdel(key, connection),
  };
}
