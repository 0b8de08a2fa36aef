/** What of a configuration can be taken over while a node runs: its apps, of which the top level describes `main`. */

import { isDeepStrictEqual } from "node:util";
import { fieldNames, type FieldName } from "./apps.js";
import { brokenRules } from "./checks.js";
import { ConfigError, type LoadedConfig } from "./load.js";
import { optionNames, type Config, type OptionName } from "./options.js";

const APPS: ReadonlySet<OptionName> = new Set(["apps", "appId", "appKey", "appSecret"]);
/** The node's at the top level, and the app's in an entry. */
const OF_THE_NODE: ReadonlySet<OptionName> = new Set(["maxConnections", "origins"]);

/** Read again while the node runs: what there is of apps, and what describes the app `main`. */
export const reloadedOptions: readonly OptionName[] = optionNames.filter(
  (name) => APPS.has(name) || (fieldNames.includes(name as FieldName) && !OF_THE_NODE.has(name)),
);

export interface ReadAgain {
  /** The one that runs, with the apps of the one that was read. */
  readonly config: Config;
  /** Options that were read with another value, which needs a restart. */
  readonly unapplied: readonly OptionName[];
}

/** @throws ConfigError where the file is gone, or the apps do not go together with what the node runs with */
export function readAgain(running: LoadedConfig, read: LoadedConfig, production: boolean): ReadAgain {
  checkFile(running, read);
  const taken = Object.fromEntries(reloadedOptions.map((name) => [name, read.config[name]]));
  const config: Config = { ...running.config, ...taken };
  const broken = brokenRules(config, { production, name: (option) => option });
  if (broken.length > 0) throw new ConfigError(broken.join("\n"));
  const unapplied = optionNames.filter((name) => {
    // Of two defaults one may be another random id.
    const isDefault = running.origins[name].kind === "default" && read.origins[name].kind === "default";
    if (isDefault || reloadedOptions.includes(name)) return false;
    return !isDeepStrictEqual(running.config[name], read.config[name]);
  });
  return { config, unapplied };
}

/** A file that is just being written, or was lost, would else take every key and every app with it. */
function checkFile(running: LoadedConfig, read: LoadedConfig): void {
  const { file } = running;
  if (file === undefined) return;
  if (read.file !== file) {
    throw new ConfigError(
      `config file ${file}, which was read at the start, is gone: put it back, or restart`,
    );
  }
  if (read.fileIsEmpty && !running.fileIsEmpty) {
    throw new ConfigError(`config file ${file} is empty: write {} if it is to set nothing`);
  }
}
