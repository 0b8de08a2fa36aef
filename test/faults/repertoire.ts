/** The faults that a run chooses from. Each heals itself, within a bounded time. */

import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Fleet, FleetNode } from "./fleet.js";
import type { Random } from "./random.js";

export interface FaultContext {
  readonly fleet: Fleet;
  /** To the private Redis, past every proxy. */
  readonly look: Redis;
  readonly random: Random;
  /** Multiplies every duration: a short run has short faults. */
  readonly scale: number;
  /** Clients lose their connections. */
  readonly dropClients: (share: number) => void;
  /** One client of a channel reads nothing for a while, and meanwhile much is published there. */
  floodSlowReader(ms: number): Promise<void>;
}

export interface Fault {
  /** Redis loses data by it, or begins anew, which a node cannot tell from a loss. */
  readonly losesData: boolean;
  /** What it happens to: no two faults at once to the same. */
  readonly target: "node" | "redis" | "clients";
  /** How often it is chosen, against the others. */
  readonly weight: number;
  readonly meaning: string;
  /**
   * @param node where the target is one
   * @param broke called when the harm is about to be done: a preparation before it is not the fault
   */
  run(context: FaultContext, node: FleetNode, broke: () => void): Promise<void>;
}

const pause = ({ random, scale }: FaultContext, lowMs: number, highMs: number): Promise<void> =>
  delay(random.between(lowMs, highMs) * scale);

export const FAULTS = {
  kill: {
    ...{
      losesData: false,
      target: "node",
      weight: 3,
      meaning: "a node is killed, and another takes its place",
    },
    async run(context, node) {
      await node.kill();
      await pause(context, 500, 4_000);
      await node.start();
      // Nobody would come to the new one by itself, and its next end would hurt nobody.
      context.dropClients(1 / context.fleet.nodes.length);
    },
  },
  stop: {
    ...{ losesData: false, target: "node", weight: 2, meaning: "a node is stopped by SIGSTOP for 1 to 14 s" },
    async run(context, node) {
      node.pause();
      await pause(context, 1_000, 14_000);
      node.resume();
    },
  },
  cut: {
    ...{ losesData: false, target: "node", weight: 2, meaning: "a node's connections to Redis are reset" },
    run(_context, node) {
      node.proxy.cut();
      return Promise.resolve();
    },
  },
  blackhole: {
    ...{
      losesData: false,
      target: "node",
      weight: 2,
      meaning: "a node's link to Redis carries nothing for 2 to 12 s",
    },
    async run(context, node) {
      node.proxy.blackhole();
      await pause(context, 2_000, 12_000);
      node.proxy.restore();
      // Half a message may have passed before: such a stream never goes on.
      node.proxy.cut();
    },
  },
  deaf: {
    ...{
      losesData: false,
      target: "node",
      weight: 2,
      meaning: "only a node's subscriber link carries nothing, for 2 to 12 s",
    },
    async run(context, node) {
      node.proxy.blackhole((sent) => sent.includes("starling:subscribe"));
      await pause(context, 2_000, 12_000);
      node.proxy.restore();
      node.proxy.cut();
    },
  },
  "lost-replies": {
    ...{
      losesData: false,
      target: "node",
      weight: 2,
      meaning: "what Redis answers a node is lost for up to 2 s, then the link is cut",
    },
    async run(context, node) {
      node.proxy.dropReplies();
      await pause(context, 200, 2_000);
      node.proxy.restore();
      node.proxy.cut();
    },
  },
  lag: {
    ...{
      losesData: false,
      target: "node",
      weight: 1,
      meaning: "a node's link to Redis is 100 to 1,500 ms slow, for 2 to 6 s",
    },
    async run(context, node) {
      node.proxy.delay(context.random.between(100, 1_500) * context.scale);
      await pause(context, 2_000, 6_000);
      node.proxy.delay(0);
    },
  },
  "pubsub-kill": {
    ...{
      losesData: false,
      target: "redis",
      weight: 2,
      meaning: "Redis cuts every subscriber: CLIENT KILL TYPE pubsub",
    },
    async run({ look }) {
      await look.call("CLIENT", "KILL", "TYPE", "pubsub");
    },
  },
  "redis-stop": {
    ...{ losesData: false, target: "redis", weight: 1, meaning: "Redis is stopped by SIGSTOP for 1 to 8 s" },
    async run(context) {
      context.fleet.redis.pause();
      await pause(context, 1_000, 8_000);
      context.fleet.redis.resume();
    },
  },
  "client-drop": {
    ...{
      losesData: false,
      target: "clients",
      weight: 2,
      meaning: "a fifth of the clients lose their connections",
    },
    run({ dropClients }) {
      dropClients(0.2);
      return Promise.resolve();
    },
  },
  "slow-reader": {
    ...{
      losesData: false,
      target: "clients",
      weight: 1,
      meaning: "a client stops reading while its channel is flooded",
    },
    async run(context) {
      await context.floodSlowReader(context.random.between(3_000, 8_000) * context.scale);
    },
  },
  "redis-tail": {
    ...{
      losesData: true,
      target: "redis",
      weight: 2,
      meaning: "Redis is killed and comes back without what came after its last dump",
    },
    async run(context, _node, broke) {
      await context.look.save();
      await pause(context, 300, 2_000);
      broke();
      await context.fleet.redis.kill();
      await pause(context, 100, 3_000);
      await context.fleet.redis.restart();
      await context.look.ping();
    },
  },
  "redis-restart": {
    ...{
      losesData: true,
      target: "redis",
      weight: 1,
      meaning: "Redis ends in good order, its data saved, and starts again",
    },
    async run(context) {
      const { fleet, look } = context;
      // By SIGTERM: a SHUTDOWN without an answer would be sent again, to the next server.
      await look.config("SET", "save", "3600 1");
      await fleet.redis.kill("SIGTERM");
      await fleet.redis.restart();
      await look.ping();
    },
  },
  flushall: {
    ...{ losesData: true, target: "redis", weight: 1, meaning: "FLUSHALL" },
    async run({ look }) {
      await look.flushall();
    },
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];
