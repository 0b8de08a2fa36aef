/** The usual bridge: one JSON PUBLISH per message on one Redis channel, heard by every node. */

import { Redis } from "ioredis";
import { nodeId, type Message } from "./frames.js";
import { BUS } from "./process.js";

export interface JsonBus {
  /** Resolves when Redis has it. */
  publish(message: Message): Promise<unknown>;
}

interface Envelope extends Message {
  readonly node: string;
}

/** @param heard is given what other nodes published. @returns undefined without a Redis: the node is alone */
export async function openJsonBus(
  redisUrl: string | undefined,
  heard: (message: Message) => void,
): Promise<JsonBus | undefined> {
  if (redisUrl === undefined) return undefined;
  const publisher = new Redis(redisUrl);
  const subscriber = publisher.duplicate();
  subscriber.on("message", (_bus: string, text: string) => {
    const envelope = JSON.parse(text) as Envelope;
    if (envelope.node !== nodeId) heard(envelope);
  });
  await subscriber.subscribe(BUS);
  return {
    publish: ({ channel, content, from }) =>
      publisher.publish(BUS, JSON.stringify({ node: nodeId, channel, content, from })),
  };
}
