/** A node's configuration. src/config/table.ts declares each option. */

import { brokenRules } from "./config/checks.js";
import { defaultOf, optionNames, optionsSchema, type Config } from "./config/options.js";

export { appsOf } from "./config/all-apps.js";
export type { AppConfig } from "./config/apps.js";
export { isClosed, isOpen } from "./config/app-checks.js";
export { isLoopback, OPEN_MODE } from "./config/checks.js";
export { ConfigError, loadConfig, type LoadedConfig, type Origin } from "./config/load.js";
export { openFileLimit, socketLimits } from "./config/descriptors.js";
export type { Config } from "./config/options.js";

export const isProduction = (): boolean => process.env["NODE_ENV"] === "production";

/** A whole configuration. Unknown names are refused, and what must hold between options is checked. */
export const configSchema = optionsSchema.superRefine((config, context) => {
  const production = isProduction();
  for (const message of brokenRules(config, { production, name: (option) => option })) {
    context.addIssue({ code: "custom", message });
  }
});

/** The defaults outside production, with a node id of this process. */
export const defaultConfig: Config = Object.freeze(
  Object.fromEntries(optionNames.map((name) => [name, defaultOf(name, { production: false })])),
) as Config;
