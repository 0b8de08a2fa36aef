/** What must hold of apps, `main` among them, and between them. */

import { isDeepStrictEqual } from "node:util";
import { DEFAULT_APP } from "../core/app.js";
import { quote } from "../core/errors.js";
import { PUSHER_DEFAULTS } from "../protocols/pusher/settings.js";
import { appsOf } from "./all-apps.js";
import type { Config, OptionName } from "./options.js";

/** An option as an error names it, with its value and where that came from. */
type NameOf = (option: OptionName) => string;
type TokenSettings = Pick<Config, "jwtAlgorithm" | "jwtSecret" | "jwtPublicKeyFile" | "jwtJwksUrl">;

function brokenKeyRules(settings: TokenSettings, name: (setting: keyof TokenSettings) => string): string[] {
  const sources = (["jwtSecret", "jwtPublicKeyFile", "jwtJwksUrl"] as const).filter(
    (source) => settings[source] !== undefined,
  );
  if (sources.length > 1) {
    return [
      `at most one of jwtSecret, jwtPublicKeyFile and jwtJwksUrl may be set, not ${sources.map(name).join(" and ")}`,
    ];
  }
  const source = sources[0];
  if (source === undefined || (source === "jwtSecret") === (settings.jwtAlgorithm === "HS256")) return [];
  const fitting = source === "jwtSecret" ? "HS256" : "RS256 or ES256";
  return [`${name(source)} does not fit ${name("jwtAlgorithm")}: set jwtAlgorithm to ${fitting}`];
}

/** No tokens are checked: open mode, unless it is closed. */
export function isOpen(config: Omit<TokenSettings, "jwtAlgorithm">): boolean {
  return (
    config.jwtSecret === undefined && config.jwtPublicKeyFile === undefined && config.jwtJwksUrl === undefined
  );
}

/** Only signatures let clients in: there is no key to check tokens with, and nobody said that none is needed. */
export function isClosed(
  app: Omit<TokenSettings, "jwtAlgorithm"> & { readonly allowOpen: boolean },
  production: boolean,
): boolean {
  return production && isOpen(app) && !app.allowOpen;
}

/** @returns one sentence per broken rule */
export function brokenAppRules(config: Config, production: boolean, nameOf: NameOf): string[] {
  const { apiKeys, apps } = config;
  const broken = [
    ...brokenKeyRules(config, nameOf),
    ...brokenPairRules(config, nameOf),
    ...brokenDataRules(config, nameOf),
  ];
  for (const app of apps) {
    const name = (setting: keyof TokenSettings): string =>
      `${setting} ${setting === "jwtSecret" ? "***" : quote(app[setting])}`;
    broken.push(...brokenKeyRules(app, name).map((rule) => `app ${app.id}: ${rule}`));
    // One with key pairs is for Pusher's clients then.
    if (isClosed(app, production) && app.keys.length === 0) {
      broken.push(
        `app ${app.id}: NODE_ENV=production and no key for tokens: anyone could connect as nobody and send to every channel of it. ` +
          "Set its jwtSecret, jwtPublicKeyFile or jwtJwksUrl, or its allowOpen if that is meant",
      );
    }
  }
  const owners = new Map<string, string>();
  for (const { id, apiKeys: keys } of [{ id: DEFAULT_APP, apiKeys }, ...apps]) {
    for (const [index, key] of keys.entries()) {
      const owner = owners.get(key) ?? id;
      if (owner !== id) {
        broken.push(
          `app ${id}: apiKeys ${index + 1} of ${keys.length} (***) is one of app ${owner} too: a key opens one app`,
        );
      }
      owners.set(key, owner);
    }
  }
  return broken;
}

function brokenPairRules({ appId, appKey, appSecret, apps, pusher }: Config, name: NameOf): string[] {
  if (appKey === undefined && appSecret === undefined) {
    if (!isDeepStrictEqual(pusher, PUSHER_DEFAULTS) && apps.some(({ keys }) => keys.length > 0)) {
      return [
        "pusher at the top level has no effect without appKey, as it is not that of apps: set pusher in the entries of apps",
      ];
    }
    if (appId === DEFAULT_APP) return [];
    return [`${name("appId")} has no effect without appKey and appSecret: set both (starling app create)`];
  }
  if (appKey === undefined || appSecret === undefined) {
    return ["appKey and appSecret are a pair: set both or neither"];
  }
  const broken: string[] = [];
  if (apps.some(({ id }) => id === appId)) {
    broken.push(`${name("appId")} is in apps too: add the pair to its keys there, or choose another id`);
  }
  const owner = apps.find(({ keys }) => keys.some(({ key }) => key === appKey));
  if (owner !== undefined) {
    broken.push(`${name("appKey")} is a key of app ${owner.id} too: a key is of one app, once`);
  }
  return broken;
}

/** What a frame has besides an event's data: names, and the JSON around all. */
const FRAME_BESIDES_DATA_BYTES = 1024;

function brokenDataRules(config: Config, name: NameOf): string[] {
  return appsOf(config).flatMap(({ id, keys, pusher: { maxDataBytes } }) => {
    const needed = maxDataBytes + FRAME_BESIDES_DATA_BYTES;
    if (keys.length === 0 || needed <= config.maxFrameBytes) return [];
    const owner = id === DEFAULT_APP || id === config.appId ? "" : `app ${id}: `;
    return [
      `${owner}pusher.maxDataBytes ${maxDataBytes} does not fit ${name("maxFrameBytes")}, as a frame has names too: ` +
        `set maxFrameBytes to at least ${needed}, or lower pusher.maxDataBytes`,
    ];
  });
}
