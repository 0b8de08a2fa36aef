/** The publish side of a link: one connection, or those to the masters of a Cluster. */

import type { Cluster, Redis } from "ioredis";

import type { Log } from "../../core/log.js";
import { checkAcl, explainStartFailure } from "./acl-check.js";
import { closeRedis, createRedisClient, isCluster, isReady, mastersOf, type RedisClient } from "./client.js";
import { connectRedis } from "./connect.js";
import type { RedisOptions } from "./redis-options.js";
import { ownerOf, refreshSlots } from "./slots.js";

export interface BusMessage {
  readonly channel: string;
  readonly bytes: Buffer;
}

export interface PublisherOptions {
  readonly redis: RedisOptions;
  readonly log: Log;
  /** A connection can be prepared. */
  ready(): void;
  /** A connection closed, and what replaces it must be prepared again. */
  lost(reason: string): void;
  /** After lost(), on a Cluster: no event tells when the connection to another master is there. */
  masterLost(): void;
}

/** The publish connections, and whether each of them went through the steps that come before any use. */
export class Publisher {
  readonly client: RedisClient;
  /** The client, if it is a Cluster's. */
  readonly cluster: Cluster | undefined;
  readonly #options: PublisherOptions;
  readonly #steps: ((client: RedisClient) => Promise<void>)[] = [];
  #prepared = false;
  #preparing = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.client = createRedisClient(options.redis, "publish", options.log);
    this.cluster = isCluster(this.client) ? this.client : undefined;
  }

  get prepared(): boolean {
    return this.#prepared;
  }

  /** Adds a step. The steps run in this order on every new connection. */
  prepare(step: (client: RedisClient) => Promise<void>): void {
    this.#steps.push(step);
  }

  /** @throws RedisUnreachable */
  connect(): Promise<void> {
    return connectRedis(this.client, this.#options.redis);
  }

  /** Once, after connect(): checks the user's rights too. @throws what a step threw, or what to do about it */
  async prepareFirst(): Promise<void> {
    const { redis } = this.#options;
    try {
      if (this.cluster !== undefined) await connectMasters(this.cluster);
      await checkAcl(this.client, redis, this.cluster !== undefined);
      await this.#runSteps();
    } catch (error) {
      throw explainStartFailure(error, redis.url);
    }
    this.#prepared = true;
    this.#watch();
  }

  /** Rejects as a step does. @returns false: it is under way already */
  async prepareAgain(): Promise<boolean> {
    if (this.#preparing) return false;
    this.#preparing = true;
    try {
      await this.#runSteps();
      this.#prepared = isReady(this.client) && mastersOf(this.client).every(isReady);
    } finally {
      this.#preparing = false;
    }
    return true;
  }

  async #runSteps(): Promise<void> {
    if (this.cluster !== undefined) await connectMasters(this.cluster);
    for (const step of this.#steps) await step(this.client);
  }

  #watch(): void {
    this.client.on("ready", () => this.#options.ready());
    this.client.on("close", () => this.#lost("the publish connection closed"));
    this.cluster?.on("-node", ({ options }: Redis) => {
      if (options.readOnly === true) return;
      this.#lost(`the publish connection to ${options.host}:${options.port} closed`);
      this.#options.masterLost();
    });
  }

  #lost(reason: string): void {
    this.#prepared = false;
    this.#options.lost(reason);
  }

  /** Ends the connection that a slot's messages go out on; another is made. */
  reconnect(slot: number): void {
    const { client, cluster } = this;
    if (cluster !== undefined) {
      const owner = ownerOf(cluster, slot);
      const node = cluster.nodes().find(({ options }) => `${options.host}:${options.port}` === owner);
      // Of a Cluster's client only the one that failed: it says "-node" and finds another.
      if (node !== undefined) {
        node.disconnect();
        return;
      }
    }
    client.disconnect(true);
  }

  close(): Promise<void> {
    return closeRedis(this.client);
  }
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
