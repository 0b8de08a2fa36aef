/** The bus of one node, as node.ts puts it together, with short times. */

import type { Broker } from "../../src/core/broker.js";
import type { Log } from "../../src/core/log.js";
import { Stats } from "../../src/core/stats.js";
import { createRedisBroker, type RedisBrokerOptions } from "../../src/redis/bus/broker.js";
import { FORMAT } from "../../src/redis/link/fleet-format.js";
import type { RedisOptions } from "../../src/redis/link/redis-options.js";
import { createRedisLink, type RedisLink, type RedisLinkOptions } from "../../src/redis/link/link.js";

export interface LoggedLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly fields: object;
  readonly message: string;
}

export interface RedisNode {
  readonly link: RedisLink;
  readonly broker: Broker;
  readonly stats: Stats;
  readonly log: Log;
  readonly lines: LoggedLine[];
}

export interface RedisNodeOptions {
  readonly nodeId: string;
  readonly url: string;
  readonly prefix?: string;
  readonly commandTimeoutMs?: number;
  readonly redis?: Pick<RedisOptions, "tls" | "sentinelPassword">;
  readonly link?: Partial<Pick<RedisLinkOptions, "probeIntervalMs" | "probeTimeoutMs">>;
  readonly broker?: Partial<RedisBrokerOptions>;
}

export function createRedisNode(options: RedisNodeOptions): RedisNode {
  const stats = new Stats();
  const lines: LoggedLine[] = [];
  const at =
    (level: LoggedLine["level"]) =>
    (fields: object, message: string): void => {
      lines.push({ level, fields, message });
    };
  const log: Log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  const link = createRedisLink({
    nodeId: options.nodeId,
    redis: {
      url: options.url,
      prefix: options.prefix ?? "ws:",
      commandTimeoutMs: options.commandTimeoutMs ?? 3_000,
      ...options.redis,
    },
    probeIntervalMs: 100,
    probeTimeoutMs: 1_500,
    stats,
    log,
    ...options.link,
  });
  const broker = createRedisBroker({
    link,
    shards: 1,
    batchItems: 500,
    batchBytes: 512 * 1024,
    maxQueuedItems: 50_000,
    maxQueuedBytes: 64 * 1024 * 1024,
    messageIdWindowMs: 120_000,
    emptyMs: 150_000,
    format: { oldest: FORMAT },
    stats,
    log,
    ...options.broker,
  });
  return { link, broker, stats, log, lines };
}
