/** Nodes that keep presence in a real Redis, in this process and in others, and an ear on what is told. */

import { fork, type ChildProcess } from "node:child_process";

import { onTestFinished } from "vitest";

import type { PresenceMember, PresenceStore } from "../../src/core/presence.js";
import { FORMAT } from "../../src/redis/link/fleet-format.js";
import type { RedisPresenceOptions } from "../../src/redis/presence/presence.js";
import { createRedisPresence } from "../../src/redis/presence/presence.js";
import type { NodeOptions, Order } from "../integration/redis-presence-node.js";
import { createRedisNode, type RedisNode } from "./redis-node.js";
import type { RedisServer } from "./redis-server.js";

export { eventually } from "./eventually.js";

export const KEY = "main/chat:lobby";

export const member = (connection: string, user: string | null = null, info?: string): PresenceMember =>
  info === undefined ? { connection, user } : { connection, user, info };

export interface PresenceNode extends Pick<RedisNode, "link" | "stats" | "lines"> {
  readonly store: PresenceStore;
  /** `join a.1`, and the info where there is any, in the order they were told. */
  readonly told: string[];
  /** How often it was said that events may have been missed. */
  missed: number;
}

export type PresenceNodeOptions = Partial<Omit<RedisPresenceOptions, "link" | "nodeId">> & {
  readonly url: string;
  readonly prefix: string;
};

/** Started; stopped when the test is over. */
export async function startPresenceNode(
  nodeId: string,
  { url, prefix, ...options }: PresenceNodeOptions,
): Promise<PresenceNode> {
  const { link, stats, log, lines } = createRedisNode({ nodeId, url, prefix });
  const store = createRedisPresence({
    format: { oldest: FORMAT },
    nodeId,
    link,
    ttlMs: 60_000,
    graceMs: 3_000,
    shards: 1,
    flushIntervalMs: 5,
    stats,
    log,
    ...options,
  });
  const node: PresenceNode = { link, stats, lines, store, told: [], missed: 0 };
  await store.start({
    event: ({ kind, member: { connection, info } }) =>
      void node.told.push(`${kind} ${connection}${info === undefined ? "" : ` ${info}`}`),
    missed: () => void node.missed++,
  });
  onTestFinished(() => store.stop());
  return node;
}

export interface PresenceChild {
  readonly process: ChildProcess;
  readonly told: string[];
  order(order: Order): void;
  /** Resolves when it is gone. */
  kill(): Promise<void>;
}

export async function startPresenceChild(options: NodeOptions): Promise<PresenceChild> {
  const child = fork(
    new URL("../integration/redis-presence-node.ts", import.meta.url),
    [JSON.stringify(options)],
    { execArgv: ["--import", "tsx"] },
  );
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = (): Promise<void> => {
    child.kill("SIGKILL");
    return gone;
  };
  onTestFinished(kill);
  const told: string[] = [];
  await new Promise<void>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the node ended with ${code} before it started`)));
    child.on("message", (message: string) => {
      if (message === "started") resolve();
      else told.push(message);
    });
  });
  return { process: child, told, order: (order) => void child.send(order), kill };
}

/** What Redis itself carries, read without the code under test: `join a.1`, in order. */
export async function hearEvents(server: RedisServer, prefix: string): Promise<string[]> {
  const heard: string[] = [];
  const ear = server.client();
  await ear.psubscribe(`${prefix}presence:*`);
  ear.on("pmessage", (_pattern: string, _channel: string, text: string) => {
    const [header = "", ...lines] = text.split("\n");
    for (let at = 0; at < lines.length; at += header.startsWith("3") ? 4 : 3) {
      const kind = { "+": "join", "-": "leave", "=": "update" }[lines[at]!.charAt(0)];
      heard.push(`${kind} ${lines[at + 2]! || lines[at + 1]!.slice(1)}`);
    }
  });
  return heard;
}
