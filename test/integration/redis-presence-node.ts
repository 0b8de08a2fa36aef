/** Presence in a process of its own, to be stopped and killed: told what to do and telling what it saw by IPC. */

import { silentLog } from "../../src/core/log.js";
import type { PresenceMember } from "../../src/core/presence.js";
import { Stats } from "../../src/core/stats.js";
import { FORMAT } from "../../src/redis/link/fleet-format.js";
import { createRedisLink } from "../../src/redis/link/link.js";
import { createRedisPresence } from "../../src/redis/presence/presence.js";

export interface NodeOptions {
  readonly nodeId: string;
  readonly url: string;
  readonly prefix: string;
  readonly ttlMs: number;
  readonly graceMs: number;
  /** How far this node's clock is off. */
  readonly skewMs: number;
}

export type Order =
  | { readonly kind: "join" | "leave"; readonly key: string; readonly member: PresenceMember }
  | { readonly kind: "stop" };

const options = JSON.parse(process.argv[2]!) as NodeOptions;
const trueNow = Date.now.bind(Date);
Date.now = () => trueNow() + options.skewMs;

const stats = new Stats();
const store = createRedisPresence({
  format: { oldest: FORMAT },
  nodeId: options.nodeId,
  link: createRedisLink({
    nodeId: options.nodeId,
    redis: { url: options.url, prefix: options.prefix, commandTimeoutMs: 1_000 },
    probeIntervalMs: 200,
    probeTimeoutMs: 1_000,
    stats,
    log: silentLog,
  }),
  ttlMs: options.ttlMs,
  graceMs: options.graceMs,
  shards: 1,
  flushIntervalMs: 5,
  stats,
  log: silentLog,
});
process.on("disconnect", () => process.exit(0));
process.on("message", (order: Order) => {
  if (order.kind === "stop") void store.stop().then(() => process.exit(0));
  else store[order.kind](order.key, order.member);
});
await store.start({ event: ({ kind, member }) => process.send?.(`${kind} ${member.connection}`) });
process.send?.("started");
