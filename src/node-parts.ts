/** Which implementation of each part a configuration asks for, and how it sets it. */

import { readFileSync } from "node:fs";
import { createJwtAuthorizer } from "./auth/jwt.js";
import { createOpenAuthorizer } from "./auth/open.js";
import type { Config } from "./config.js";
import type { Authorizer } from "./core/authorizer.js";
import type { Broker } from "./core/broker.js";
import { DEFAULT_APP } from "./core/app.js";
import type { ControlBus } from "./core/control.js";
import type { Log } from "./core/log.js";
import type { PresenceStore } from "./core/presence.js";
import type { ConnectionRegistry } from "./core/registry.js";
import type { Stats } from "./core/stats.js";
import { createMemoryBroker } from "./memory/broker.js";
import { createMemoryControl } from "./memory/control.js";
import { createMemoryPresence } from "./memory/presence.js";
import { createMemoryRegistry } from "./memory/registry.js";
import { createRedisBroker } from "./redis/bus/broker.js";
import { LearnedFormat } from "./redis/link/fleet-format.js";
import type { RedisUse } from "./redis/link/needed-commands.js";
import type { RedisOptions } from "./redis/link/redis-options.js";
import { createRedisControl } from "./redis/control/control.js";
import { createRedisLink } from "./redis/link/link.js";
import { createRedisPresence } from "./redis/presence/presence.js";
import { createRedisRegistry } from "./redis/registry/registry.js";

/** Publications that wait for the bus: beyond it publishing fails rather than memory grows. */
const MAX_QUEUED_ITEMS = 100_000;
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
/** How long the nodes' answers to a question are waited for. */
const ASK_TIMEOUT_MS = 1000;
/** What a node shares with others, if there are any. */
export interface Shared {
  readonly broker: Broker;
  readonly control: ControlBus;
  readonly registry: ConnectionRegistry;
  readonly presence: PresenceStore;
  /**
   * Before the apps of a configuration are taken over.
   * @throws Error naming what they need that this node's user of Redis may not do
   */
  readonly prepareFor?: (config: Config) => Promise<void>;
}

/** In this process where there is no Redis, else in it. */
export function sharedParts(config: Config, stats: Stats, log: Log): Shared {
  return config.redis === undefined ? alone(config, stats, log) : inFleet(config, config.redis, stats, log);
}

function alone(config: Config, stats: Stats, log: Log): Shared {
  const { nodeId, sessionTtlMs, messageIdWindowMs, presenceGraceMs } = config;
  return {
    broker: createMemoryBroker({
      maxQueuedItems: MAX_QUEUED_ITEMS,
      maxQueuedBytes: MAX_QUEUED_BYTES,
      messageIdWindowMs,
      emptyMs: emptyMsOf(config),
      stats,
      log,
    }),
    control: createMemoryControl({ nodeId }),
    registry: createMemoryRegistry({ nodeId, sessionTtlMs, stats }),
    presence: createMemoryPresence({ graceMs: presenceGraceMs, stats, log }),
  };
}

/** Longer than a client may be away and still recover, and than two looks at the positions of its channels. */
function emptyMsOf({ sessionTtlMs, positionCheckIntervalMs }: Config): number {
  return sessionTtlMs + 5 * positionCheckIntervalMs;
}

function inFleet(config: Config, url: string, stats: Stats, log: Log): Shared {
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
    prepareFor: (again) => link.useMore(useOf(again)),
  };
}

/** By the namespaces of all its apps. */
function useOf({ namespaces, apps, ingestChannel }: Config): RedisUse {
  const rules = [namespaces, ...apps.map((app) => app.namespaces)].flatMap((of) => Object.values(of));
  return {
    history: rules.some(({ history }) => history !== undefined),
    presence: rules.some(({ presence }) => presence),
    ingestChannel,
  };
}

export function redisOptions(config: Config, url: string): RedisOptions {
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

type TokenOption =
  | "jwtAlgorithm"
  | "jwtSecret"
  | "jwtPublicKeyFile"
  | "jwtJwksUrl"
  | "jwtAudience"
  | "jwtIssuer"
  | "jwtClockToleranceMs";
type FileOption = "redisTlsCaFile" | "redisTlsCertFile" | "redisTlsKeyFile" | "jwtPublicKeyFile";

function readOptional<Option extends FileOption>(
  config: Pick<Config, Option>,
  option: Option,
): string | undefined {
  const path: string | undefined = config[option];
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`${option} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  // A key for tokens may be a JWK too.
  if (option !== "jwtPublicKeyFile" && !text.includes("-----BEGIN "))
    throw new Error(`${option} is not a PEM file: ${path}`);
  return text;
}

/** @returns what stands in the file of the public key, where there is one */
export function readTokenKey(settings: Pick<Config, "jwtPublicKeyFile">): string | undefined {
  return readOptional(settings, "jwtPublicKeyFile");
}

/** @param publicKey  as `readTokenKey` has it */
export function createAuthorizer(
  settings: Pick<Config, TokenOption>,
  publicKey: string | undefined,
): Authorizer {
  const { jwtAlgorithm, jwtSecret, jwtPublicKeyFile, jwtJwksUrl } = settings;
  if (jwtSecret === undefined && jwtPublicKeyFile === undefined && jwtJwksUrl === undefined) {
    return createOpenAuthorizer();
  }
  return createJwtAuthorizer({
    algorithm: jwtAlgorithm,
    secret: jwtSecret,
    publicKey,
    jwksUrl: jwtJwksUrl,
    audience: settings.jwtAudience,
    issuer: settings.jwtIssuer,
    clockToleranceSeconds: settings.jwtClockToleranceMs / 1000,
  });
}
