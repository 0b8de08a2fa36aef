/** The parts of a node that shares them with others in Redis. */

import { appsOf, type Config } from "./config.js";
import { DEFAULT_APP } from "./core/app.js";
import type { Log } from "./core/log.js";
import type { Stats } from "./core/stats.js";
import { MAX_QUEUED_BYTES, MAX_QUEUED_ITEMS, emptyMsOf, readOptional, type Shared } from "./node-parts.js";
import { createRedisBroker } from "./redis/bus/broker.js";
import { LearnedFormat } from "./redis/link/fleet-format.js";
import type { RedisUse } from "./redis/link/needed-commands.js";
import type { RedisOptions } from "./redis/link/redis-options.js";
import { createRedisControl } from "./redis/control/control.js";
import { createRedisLink } from "./redis/link/link.js";
import { createRedisPresence } from "./redis/presence/presence.js";
import { createRedisRegistry } from "./redis/registry/registry.js";
import { waitForRedis } from "./redis/link/start-wait.js";

/** How long the nodes' answers to a question are waited for. */
const ASK_TIMEOUT_MS = 1000;

export function inFleet(config: Config, url: string, stats: Stats, log: Log): Shared {
  const { nodeId } = config;
  const redis = redisOptions(config, url);
  const link = createRedisLink({
    nodeId,
    redis,
    probeIntervalMs: config.busProbeIntervalMs,
    probeTimeoutMs: config.busProbeTimeoutMs,
    stats,
    log,
  });
  const format = new LearnedFormat();
  const broker = createRedisBroker({
    link,
    shards: config.busShards,
    batchItems: config.busBatchItems,
    batchBytes: config.busBatchBytes,
    maxQueuedItems: MAX_QUEUED_ITEMS,
    maxQueuedBytes: MAX_QUEUED_BYTES,
    messageIdWindowMs: config.messageIdWindowMs,
    emptyMs: emptyMsOf(config),
    format,
    ingest:
      config.ingestChannel === undefined
        ? undefined
        : { channel: config.ingestChannel, app: DEFAULT_APP, maxBytes: config.maxFrameBytes },
    stats,
    log,
  });
  const registry = createRedisRegistry({
    nodeId,
    redis,
    sessionTtlMs: config.sessionTtlMs,
    leaseTtlMs: config.leaseTtlMs,
    format,
    stats,
    log,
    notifySuperseded: (_nodeId, connection) => {
      control
        .command({ kind: "supersede", connection })
        // That node also finds out by itself when it refreshes its sessions.
        .catch((error: unknown) =>
          log.warn({ err: error, connection }, "a superseded connection could not be told to close"),
        );
    },
  });
  const control = createRedisControl({
    link,
    askTimeoutMs: ASK_TIMEOUT_MS,
    nodes: () => registry.nodes(),
    stats,
    log,
  });
  const presence = createRedisPresence({
    nodeId,
    link,
    format,
    ttlMs: config.presenceTtlMs,
    graceMs: config.presenceGraceMs,
    shards: config.busShards,
    stats,
    log,
  });
  return {
    ...{ broker, control, registry, presence },
    reachable: (waiting) => waitForRedis({ redis, timeoutMs: config.redisStartTimeoutMs, log, waiting }),
    prepareFor: (again) => link.useMore(useOf(again)),
  };
}

/** By the namespaces of all its apps, and by the kinds of channels that Pusher's apps have. */
function useOf(config: Config): RedisUse {
  const apps = appsOf(config);
  const rules = apps.flatMap(({ namespaces }) => Object.values(namespaces));
  const servesPusher = apps.some(({ keys }) => keys.length > 0);
  return {
    history: servesPusher || rules.some(({ history }) => history !== undefined),
    presence: servesPusher || rules.some(({ presence }) => presence),
    ingestChannel: config.ingestChannel,
  };
}

function redisOptions(config: Config, url: string): RedisOptions {
  return {
    url,
    prefix: config.redisPrefix,
    commandTimeoutMs: config.redisCommandTimeoutMs,
    use: useOf(config),
    sentinelPassword: config.redisSentinelPassword,
    tls: {
      ca: readOptional(config, "redisTlsCaFile"),
      cert: readOptional(config, "redisTlsCertFile"),
      key: readOptional(config, "redisTlsKeyFile"),
      serverName: config.redisTlsServerName,
    },
  };
}
