/** What must hold between options. */

import { DEFAULT_APP } from "../core/app.js";
import { appsOf } from "./all-apps.js";
import { brokenAppRules, isOpen } from "./app-checks.js";
import { reservedFiles } from "./descriptors.js";
import type { Config, OptionName } from "./options.js";

const MAX_NODE_ID = 64;
/** `-128r99999` */
const WORKER_SUFFIX = 10;

export interface CheckContext {
  readonly production: boolean;
  /** An option as an error names it, with its value and where that came from. */
  readonly name: (option: OptionName) => string;
}

/** @returns one sentence per broken rule */
export function brokenRules(config: Config, { production, name }: CheckContext): string[] {
  const broken: string[] = [];
  const atLeast = (greater: OptionName, lesser: OptionName, why: string): void => {
    if (Number(config[greater]) < Number(config[lesser])) {
      broken.push(`${name(greater)} must be at least ${name(lesser)}: ${why}`);
    }
  };
  atLeast("bytesBurst", "maxFrameBytes", "a frame of the largest size could never be sent");
  atLeast("maxPendingBytes", "maxFrameBytes", "a frame of the largest size could never wait");
  atLeast("maxBufferedBytes", "maxFrameBytes", "one message could close its reader");
  if (config.heartbeatTimeoutMs >= config.heartbeatIntervalMs) {
    broken.push(`${name("heartbeatTimeoutMs")} must be below ${name("heartbeatIntervalMs")}`);
  }
  if (config.presenceGraceMs * 3 > config.presenceTtlMs) {
    broken.push(
      `${name("presenceGraceMs")} must be at most a third of ${name("presenceTtlMs")}: a member could lapse before it is refreshed`,
    );
  }
  if (config.port !== 0 && config.port === config.apiPort) {
    broken.push(`${name("port")} and ${name("apiPort")} are the same: the API needs a port of its own`);
  }
  if (config.ingestChannel?.startsWith(config.redisPrefix) === true) {
    broken.push(
      `${name("ingestChannel")} begins with ${name("redisPrefix")}: those channels are reserved for the fleet`,
    );
  }
  broken.push(
    ...brokenTlsRules(config, name),
    ...brokenWorkerRules(config, name),
    ...brokenAppRules(config, production, name),
    ...brokenRedisRules(config, name),
  );
  if (!config.allowOpen) broken.push(...exposures(config, production, name));
  return broken;
}

function brokenTlsRules(config: Config, name: CheckContext["name"]): string[] {
  const { tlsCertFile, tlsKeyFile, tlsKeyPassphrase, clientAddressHops, trustedProxies } = config;
  const broken: string[] = [];
  if ((tlsCertFile === undefined) !== (tlsKeyFile === undefined)) {
    broken.push("tlsCertFile and tlsKeyFile are a pair: set both or neither");
  }
  if (tlsKeyPassphrase !== undefined && tlsKeyFile === undefined) {
    broken.push("tlsKeyPassphrase is set without a key: set tlsCertFile and tlsKeyFile");
  }
  if (trustedProxies.length > 0 && clientAddressHops === 0) {
    broken.push(
      `${name("trustedProxies")} has no effect with ${name("clientAddressHops")}: set it to the number of proxies`,
    );
  }
  return broken;
}

function brokenWorkerRules(config: Config, name: CheckContext["name"]): string[] {
  const { workers, port } = config;
  if (workers === 1) return [];
  const broken: string[] = [];
  if (config.redis === undefined) {
    broken.push(`${name("workers")} needs redis: without it the workers would not share publications`);
  }
  if (config.portPerWorker && port !== 0) {
    const last = port + workers - 1;
    if (last > 65_535) broken.push(`${name("workers")} from ${name("port")} on would end above 65535`);
    if (port < config.apiPort && config.apiPort <= last) {
      broken.push(`${name("apiPort")} is among the workers' ports ${port} to ${last}`);
    }
  }
  // What workers add to it.
  if (config.nodeId.length > MAX_NODE_ID - WORKER_SUFFIX) {
    broken.push(
      `${name("nodeId")} is too long for workers: at most ${MAX_NODE_ID - WORKER_SUFFIX} characters`,
    );
  }
  return broken;
}

function brokenRedisRules(config: Config, name: CheckContext["name"]): string[] {
  const broken: string[] = [];
  const { redis = "", redisTlsCertFile, redisTlsKeyFile } = config;
  const tls = ["redisTlsCaFile", "redisTlsCertFile", "redisTlsKeyFile", "redisTlsServerName"] as const;
  const set = tls.filter((option) => config[option] !== undefined);
  const url = config.redis === undefined ? "redis, which is not set," : name("redis");
  if (set.length > 0 && !/^rediss/i.test(redis)) {
    const need = set.length === 1 ? "needs" : "need";
    broken.push(`${set.map(name).join(" and ")} ${need} TLS: ${url} must begin with rediss`);
  }
  if ((redisTlsCertFile === undefined) !== (redisTlsKeyFile === undefined)) {
    broken.push("redisTlsCertFile and redisTlsKeyFile are a pair: set both or neither");
  }
  if (config.redisSentinelPassword !== undefined && !/^rediss?\+sentinel:/i.test(redis)) {
    broken.push(`${name("redisSentinelPassword")} needs Sentinels: ${url} must begin with redis+sentinel`);
  }
  return broken;
}

function exposures(config: Config, production: boolean, name: CheckContext["name"]): string[] {
  const exposed: string[] = [];
  // A node that is there for Pusher's clients need not have others.
  if (production && isOpen(config) && appsOf(config).every(({ keys }) => keys.length === 0)) {
    exposed.push(
      "no token key is set and NODE_ENV is production: anyone could connect anonymously and publish to every channel. " +
        "Set jwtSecret, jwtPublicKeyFile or jwtJwksUrl, or allowOpen (--allow-open) if that is meant",
    );
  }
  if (!isLoopback(config.apiHost) && !hasApiKeys(config)) {
    exposed.push(
      `${name("apiHost")} exposes the server API beyond this machine without an API key. ` +
        "Set apiKeys, or allowOpen (--allow-open) if that is meant",
    );
  }
  return exposed;
}

/** Allowed, and worth a warning at the start. */
export function risks(config: Config, fileLimit: number | undefined): string[] {
  const found: string[] = [];
  const reserved = reservedFiles(fileLimit ?? Infinity);
  if (fileLimit !== undefined && config.maxConnections + reserved > fileLimit) {
    found.push(
      `maxConnections is ${config.maxConnections} and this process may open ${fileLimit} files, ${reserved} of them for Redis and the API: ` +
        `raise the limit (ulimit -n) to ${config.maxConnections + reserved} or lower maxConnections to ${fileLimit - reserved}`,
    );
  }
  if (!hasApiKeys(config) && !isLoopback(config.apiHost)) {
    found.push(
      `the server API on ${config.apiHost} has no keys: whoever reaches it can publish and disconnect users`,
    );
  }
  if (hasApiKeys(config) && config.apiKeys.length === 0 && !config.metricsPublic) {
    found.push(
      "apps have API keys and the app main has none: nobody can read /metrics and /v1/totals. Set apiKeys, or metricsPublic for /metrics",
    );
  }
  const checkedAlike = new Map<string, string>();
  for (const app of appsOf(config)) {
    if (app.jwtJwksUrl?.startsWith("http:") === true && !isLoopback(new URL(app.jwtJwksUrl).hostname)) {
      found.push(
        `${app.id === DEFAULT_APP ? "" : `app ${app.id}: `}jwtJwksUrl is not https: anyone on the network path can replace the keys that verify tokens`,
      );
    }
    if (isOpen(app)) continue;
    const { jwtSecret, jwtPublicKeyFile, jwtJwksUrl, jwtAudience, jwtIssuer } = app;
    const check = JSON.stringify([jwtSecret, jwtPublicKeyFile, jwtJwksUrl, jwtAudience, jwtIssuer]);
    const other = checkedAlike.get(check);
    if (other === undefined) checkedAlike.set(check, app.id);
    else {
      found.push(
        `apps ${other} and ${app.id} verify tokens with the same key, audience and issuer: a token of one opens the other too`,
      );
    }
  }
  return found;
}

/** One is enough for all of the API to ask for one. */
const hasApiKeys = ({ apiKeys, apps }: Config): boolean =>
  apiKeys.length > 0 || apps.some((app) => app.apiKeys.length > 0);

export const OPEN_MODE =
  "OPEN MODE: anyone who reaches this address can subscribe and publish to every channel but private-... and presence-.... " +
  "A key for tokens (jwtSecret, jwtPublicKeyFile or jwtJwksUrl) ends it, and so does NODE_ENV=production without allowOpen";

export function isLoopback(host: string): boolean {
  return host === "localhost" || /^127(\.\d{1,3}){3}$/.test(host) || host === "::1" || host === "[::1]";
}
