/** The publish side of a link: one connection, or those to the masters of a Cluster. */

import type { Cluster, Redis } from "ioredis";

import { isCluster, isReady, mastersOf, type RedisClient } from "./client.js";
import { ownerOf, refreshSlots } from "./slots.js";

export interface BusMessage {
  readonly channel: string;
  readonly bytes: Buffer;
}

/** Rejects as the client does. */
export function publishOne(client: RedisClient, channel: string, message: Buffer | string): Promise<unknown> {
  // PUBLISH goes to every node of a Cluster; SPUBLISH stays where the channel's slot is.
  return isCluster(client) ? client.spublish(channel, message) : client.publish(channel, message);
}

/** Never rejects. @returns for each message its failure, or undefined: Redis has it */
export function publishAll<Failure>(
  client: RedisClient,
  messages: readonly BusMessage[],
  failureOf: (error: unknown) => Failure,
): Promise<(Failure | undefined)[]> {
  if (!isCluster(client)) return pipelined(client, messages, failureOf);
  // A Cluster's pipelines are of one slot.
  return Promise.all(
    messages.map(({ channel, bytes }) => publishOne(client, channel, bytes).then(() => undefined, failureOf)),
  );
}

async function pipelined<Failure>(
  redis: Redis,
  messages: readonly BusMessage[],
  failureOf: (error: unknown) => Failure,
): Promise<(Failure | undefined)[]> {
  const pipeline = redis.pipeline();
  for (const { channel, bytes } of messages) pipeline.publish(channel, bytes);
  try {
    const results = await pipeline.exec();
    return messages.map((_, i) => {
      const result = results?.[i];
      if (result === undefined) return failureOf(new Error("a pipeline without a result"));
      return result[0] === null ? undefined : failureOf(result[0]);
    });
  } catch (error) {
    const failure = failureOf(error);
    return messages.map(() => failure);
  }
}

/**
 * Left to the first command, a connection is made while later commands go on to others.
 * Rejects while one of them cannot be had.
 */
export async function connectMasters(cluster: Cluster): Promise<void> {
  await refreshSlots(cluster);
  await Promise.all(
    mastersOf(cluster).map(async (master) => {
      if (master.status === "wait") await master.connect();
      else if (!isReady(master)) throw new Error("a connection to the Cluster is being made");
    }),
  );
}

/** Ends the connection that a slot's messages go out on; another is made. */
export function disconnectPublisher(client: RedisClient, slot: number): void {
  if (isCluster(client)) {
    const owner = ownerOf(client, slot);
    const node = client.nodes().find(({ options }) => `${options.host}:${options.port}` === owner);
    // Of a Cluster's client only the one that failed: it says "-node" and finds another.
    if (node !== undefined) {
      node.disconnect();
      return;
    }
  }
  client.disconnect(true);
}
