/** What a command hands to the nodes that it starts. */

import type { LoadedConfig } from "../config/load.js";
import { envName, optionNames } from "../config/options.js";

/** The nodes' environment: this one, with the flags and the config file that were given here. */
export function environmentOf(
  { config, file }: LoadedConfig,
  flags: object,
): Record<string, string | undefined> {
  const environment: Record<string, string | undefined> = { ...process.env };
  if (file !== undefined) environment["STARLING_CONFIG"] = file;
  for (const name of optionNames) {
    if (!(name in flags)) continue;
    delete environment[`${envName(name)}_FILE`];
    const value: unknown = config[name];
    environment[envName(name)] =
      typeof value === "string"
        ? value
        : Array.isArray(value) && value.every((item) => typeof item === "string")
          ? value.join(",")
          : JSON.stringify(value);
  }
  // The nodes write to pipes; what they write ends on this terminal.
  if (config.logFormat === "auto" && process.stderr.isTTY) environment[envName("logFormat")] = "pretty";
  return environment;
}
