/** What must hold between options. */

import { RESERVED_FILES, type Config, type OptionName } from "./options.js";

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
  if (config.presenceGraceMs >= config.presenceTtlMs) {
    broken.push(
      `${name("presenceGraceMs")} must be below ${name("presenceTtlMs")}: a member would be gone before its grace is over`,
    );
  }
  if (config.port !== 0 && config.port === config.apiPort) {
    broken.push(`${name("port")} and ${name("apiPort")} are the same: the API needs a port of its own`);
  }
  if (config.ingestChannel?.startsWith(config.redisPrefix) === true) {
    broken.push(
      `${name("ingestChannel")} begins with ${name("redisPrefix")}: those channels are the fleet's own`,
    );
  }
  broken.push(...brokenKeyRules(config, name));
  if (!config.allowOpen) broken.push(...exposures(config, production, name));
  return broken;
}

function brokenKeyRules(config: Config, name: CheckContext["name"]): string[] {
  const sources = (["jwtSecret", "jwtPublicKeyFile", "jwtJwksUrl"] as const).filter(
    (source) => config[source] !== undefined,
  );
  if (sources.length > 1) {
    return [
      `at most one of jwtSecret, jwtPublicKeyFile and jwtJwksUrl may be set, not ${sources.map(name).join(" and ")}`,
    ];
  }
  const source = sources[0];
  if (source === undefined || (source === "jwtSecret") === (config.jwtAlgorithm === "HS256")) return [];
  const fitting = source === "jwtSecret" ? "HS256" : "RS256 or ES256";
  return [`${name(source)} does not fit ${name("jwtAlgorithm")}: set jwtAlgorithm to ${fitting}`];
}

function exposures(config: Config, production: boolean, name: CheckContext["name"]): string[] {
  const exposed: string[] = [];
  if (production && isOpen(config)) {
    exposed.push(
      "NODE_ENV=production and no key for tokens: anyone could connect as nobody and send to every channel. " +
        "Set jwtSecret, jwtPublicKeyFile or jwtJwksUrl, or allowOpen (--allow-open) if that is meant",
    );
  }
  if (!isLoopback(config.apiHost) && config.apiKeys.length === 0) {
    exposed.push(
      `${name("apiHost")} opens the server API beyond this machine and no key guards it. ` +
        "Set apiKeys, or allowOpen (--allow-open) if that is meant",
    );
  }
  return exposed;
}

/** Allowed, and worth a warning at the start. */
export function risks(config: Config, fileLimit: number | undefined): string[] {
  const found: string[] = [];
  if (fileLimit !== undefined && config.maxConnections + RESERVED_FILES > fileLimit) {
    found.push(
      `maxConnections is ${config.maxConnections} and this process may open ${fileLimit} files: ` +
        `raise the limit (ulimit -n) to ${config.maxConnections + RESERVED_FILES} or lower maxConnections`,
    );
  }
  if (config.apiKeys.length === 0 && !isLoopback(config.apiHost)) {
    found.push(
      `the server API on ${config.apiHost} has no keys: whoever reaches it can publish and disconnect users`,
    );
  }
  // RFC 7518 3.2 asks for a key as long as the hash.
  if (config.jwtSecret !== undefined && Buffer.byteLength(config.jwtSecret) < 32) {
    found.push(
      "jwtSecret is shorter than 32 bytes and can be guessed offline from one token: try openssl rand -base64 32",
    );
  }
  if (config.jwtJwksUrl?.startsWith("http:") === true && !isLoopback(new URL(config.jwtJwksUrl).hostname)) {
    found.push(
      "jwtJwksUrl is not https: whoever is on the way can replace the keys that tokens are checked with",
    );
  }
  return found;
}

/** Open mode: no tokens are checked. */
export function isOpen(config: Config): boolean {
  return (
    config.jwtSecret === undefined && config.jwtPublicKeyFile === undefined && config.jwtJwksUrl === undefined
  );
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || /^127(\.\d{1,3}){3}$/.test(host) || host === "::1" || host === "[::1]";
}
