/**
 * The subscribe side of a link to a Cluster: a connection to each master that has a slot of ours.
 * ioredis's own sharded subscribers resubscribe without a word of when, or whether, that was done.
 */

import type { Cluster, Redis } from "ioredis";

import { closeRedis, createNodeConnection, isReady } from "./client.js";
import { ownerOf, refreshSlots } from "./slots.js";
import type { Subscriber, SubscriberOptions } from "./subscriber.js";

interface MasterConnection {
  /** `host:port` */
  readonly node: string;
  readonly redis: Redis;
}

/** @param cluster  that knows who has which slot */
export function createClusterSubscriber(options: SubscriberOptions, cluster: Cluster): Subscriber {
  const { wanted } = options;
  const connections = new Map<string, MasterConnection>();
  /** By channel: where it is subscribed. */
  const subscribed = new Map<string, MasterConnection>();

  function forget(connection: MasterConnection): void {
    for (const [channel, at] of subscribed) if (at === connection) subscribed.delete(channel);
  }

  function connectTo(node: string): MasterConnection {
    const colon = node.lastIndexOf(":");
    const endpoint = { host: node.slice(0, colon), port: Number(node.slice(colon + 1)) };
    const redis = createNodeConnection(options.redis, endpoint, "subscribe", options.log);
    const connection: MasterConnection = { node, redis };
    const lost = (reason: string): void => {
      forget(connection);
      if (connections.get(node) === connection) options.lost(reason);
    };
    // From a former connection of a channel nothing is taken: both might have it for a moment.
    const message = (name: Buffer, bytes: Buffer): void => {
      const channel = name.toString();
      if ((subscribed.get(channel) ?? connection) === connection) options.message(channel, bytes);
    };
    redis.on("ready", () => options.ready());
    redis.on("close", () => lost(`the subscribe connection to ${node} closed`));
    // Redis takes the subscriptions of a slot away when the slot goes, and ioredis says so.
    redis.on("moved", () => lost(`${node} no longer has slots`));
    redis.on("smessageBuffer", message);
    redis.on("messageBuffer", message);
    connections.set(node, connection);
    return connection;
  }

  async function subscribeAt(node: string, channels: readonly string[]): Promise<void> {
    const connection = connections.get(node) ?? connectTo(node);
    const { redis } = connection;
    if (redis.status === "wait") await redis.connect();
    // "ready" comes, or the link tries again.
    if (!isReady(redis)) throw new Error(`there is no connection to ${node} yet`);
    const missing = channels.filter((channel) => subscribed.get(channel) !== connection);
    const { stream } = redis;
    await Promise.all(
      calls(missing).map(({ plain, names }) =>
        plain ? redis.subscribe(...names) : redis.ssubscribe(...names),
      ),
    );
    if (redis.stream !== stream || !isReady(redis)) return;
    for (const channel of missing) subscribed.set(channel, connection);
  }

  /** One call names channels of one slot. */
  function calls(channels: readonly string[]): { plain: boolean; names: string[] }[] {
    const bySlot = new Map<string, { plain: boolean; names: string[] }>();
    for (const channel of channels) {
      const { plain, slot } = wanted.get(channel)!;
      const key = plain ? "plain" : String(slot);
      const call = bySlot.get(key);
      if (call === undefined) bySlot.set(key, { plain, names: [channel] });
      else call.names.push(channel);
    }
    return [...bySlot.values()];
  }

  return {
    get complete() {
      return subscribed.size === wanted.size;
    },
    // Where to is known with the slots.
    connect: () => Promise.resolve(),
    async subscribe() {
      await refreshSlots(cluster);
      const plan = new Map<string, string[]>();
      for (const [channel, { slot }] of wanted) {
        const node = ownerOf(cluster, slot);
        if (node === undefined) throw new Error(`no node of the Cluster has slot ${slot}`);
        const channels = plan.get(node);
        if (channels === undefined) plan.set(node, [channel]);
        else channels.push(channel);
      }
      for (const [node, connection] of connections) {
        if (plan.has(node)) continue;
        connections.delete(node);
        forget(connection);
        await closeRedis(connection.redis);
      }
      await Promise.all([...plan].map(([node, channels]) => subscribeAt(node, channels)));
    },
    reconnect(channel) {
      subscribed.get(channel)?.redis.disconnect(true);
    },
    async close() {
      const all = [...connections.values()];
      connections.clear();
      await Promise.all(all.map(({ redis }) => closeRedis(redis)));
    },
  };
}
