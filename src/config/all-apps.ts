/** Every app that a configuration describes: at the top level, by the three options of one app, and in `apps`. */

import { DEFAULT_APP } from "../core/app.js";
import { fieldNames, fieldOf, type AppConfig } from "./apps.js";
import type { Config } from "./options.js";

/** As entries of the option `apps` have them: `main`, the app of `appId` where that is another, and the others. */
export function appsOf(config: Config): readonly AppConfig[] {
  const { apps, appId, appKey, appSecret, allowOpen, namespaces, apiKeys, pusher } = config;
  const { jwtAlgorithm, jwtSecret, jwtPublicKeyFile, jwtJwksUrl } = config;
  const { jwtAudience, jwtIssuer, jwtClockToleranceMs } = config;
  const keys = appKey === undefined || appSecret === undefined ? [] : [{ key: appKey, secret: appSecret }];
  const defaults = Object.fromEntries(fieldNames.map((name) => [name, fieldOf(name).default])) as AppConfig;
  const main: AppConfig = {
    ...defaults,
    id: DEFAULT_APP,
    ...{ jwtAlgorithm, jwtSecret, jwtPublicKeyFile, jwtJwksUrl },
    ...{ jwtAudience, jwtIssuer, jwtClockToleranceMs },
    ...{ allowOpen, namespaces, apiKeys, pusher },
    keys: appId === DEFAULT_APP ? keys : [],
  };
  if (keys.length === 0 || appId === DEFAULT_APP) return [main, ...apps];
  return [main, { ...defaults, id: appId, namespaces, pusher, keys }, ...apps];
}
