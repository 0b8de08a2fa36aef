/** Which implementation of each part a configuration asks for, and how it sets it. Those on Redis are in node-fleet.ts. */

import { readFileSync } from "node:fs";
import { createJwtAuthorizer } from "./auth/jwt.js";
import { createClosedAuthorizer, createOpenAuthorizer } from "./auth/open.js";
import type { Config } from "./config.js";
import type { Authorizer } from "./core/authorizer.js";
import type { Broker } from "./core/broker.js";
import type { ControlBus } from "./core/control.js";
import type { Log } from "./core/log.js";
import type { EdgeOptions } from "./core/options.js";
import type { PresenceStore } from "./core/presence.js";
import type { ConnectionRegistry } from "./core/registry.js";
import type { Stats } from "./core/stats.js";
import { createMemoryBroker } from "./memory/broker.js";
import { createMemoryControl } from "./memory/control.js";
import { createMemoryPresence } from "./memory/presence.js";
import { createMemoryRegistry } from "./memory/registry.js";

/** Publications that wait for the bus: beyond it publishing fails rather than memory grows. */
export const MAX_QUEUED_ITEMS = 100_000;
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** What a node shares with others, if there are any. */
export interface Shared {
  readonly broker: Broker;
  readonly control: ControlBus;
  readonly registry: ConnectionRegistry;
  readonly presence: PresenceStore;
  /**
   * Resolves once it can be reached; `waiting` is told why it cannot yet.
   * @throws Error after redisStartTimeoutMs
   */
  readonly reachable?: (waiting: (reason: string) => Promise<void>) => Promise<void>;
  /**
   * Before the apps of a configuration are taken over.
   * @throws Error naming what they need that this node's user of Redis may not do
   */
  readonly prepareFor?: (config: Config) => Promise<void>;
}

/** Of a node without Redis: all in this process. */
export function alone(config: Config, stats: Stats, log: Log): Shared {
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
export function emptyMsOf({ sessionTtlMs, positionCheckIntervalMs }: Config): number {
  return sessionTtlMs + 5 * positionCheckIntervalMs;
}

export function edgeOptions(config: Config): Omit<EdgeOptions, "repair"> {
  const { nodeId, heartbeatIntervalMs, heartbeatTimeoutMs, connectTimeoutMs, sessionTtlMs } = config;
  const { maxConnections, maxConnectionsPerIp, upgradeRate, upgradeBurst } = config;
  const { maxUnauthenticated, sharePerIpPercent, origins, originRequired } = config;
  const { maxFrameBytes, maxChannelsPerConnection, maxChannelNameBytes } = config;
  const { maxPendingFrames, maxPendingBytes, maxBufferedBytes } = config;
  const { messagesPerSecond, messagesBurst, bytesPerSecond, bytesBurst } = config;
  const { positionCheckIntervalMs, drainNoticeMs, drainMs } = config;
  return {
    ...{ nodeId, heartbeatIntervalMs, heartbeatTimeoutMs, connectTimeoutMs, sessionTtlMs },
    ...{ maxConnections, maxConnectionsPerIp, upgradeRate, upgradeBurst },
    ...{ maxUnauthenticated, sharePerIpPercent, origins, originRequired },
    ...{ maxFrameBytes, maxChannelsPerConnection, maxChannelNameBytes },
    ...{ maxPendingFrames, maxPendingBytes, maxBufferedBytes },
    rate: { messagesPerSecond, messagesBurst, bytesPerSecond, bytesBurst },
    ...{ positionCheckIntervalMs, drainNoticeMs, drainMs },
    registerTimeoutMs: config.redisCommandTimeoutMs,
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

export function readOptional<Option extends FileOption>(
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

/**
 * @param publicKey  as `readTokenKey` has it
 * @param closed  where there is no key: nobody is let in rather than everybody
 */
export function createAuthorizer(
  settings: Pick<Config, TokenOption>,
  publicKey: string | undefined,
  closed: boolean,
): Authorizer {
  const { jwtAlgorithm, jwtSecret, jwtPublicKeyFile, jwtJwksUrl } = settings;
  if (jwtSecret === undefined && jwtPublicKeyFile === undefined && jwtJwksUrl === undefined) {
    return closed ? createClosedAuthorizer() : createOpenAuthorizer();
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
