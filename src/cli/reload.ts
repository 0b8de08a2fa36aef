/** What SIGHUP does: apps and namespaces are read again. */

import { loadConfig, type ConfigSources, type LoadedConfig } from "../config/load.js";
import type { Config } from "../config/options.js";
import { readAgain } from "../config/reload.js";
import type { Log } from "../core/log.js";
import type { StarlingNode } from "../node.js";

const UNAPPLIED = "these options were changed and are read at the start only: they hold after a restart";
const REFUSED = "SIGHUP: the configuration is refused, and nothing was changed";

/**
 * Reads the configuration from where it was read at the start, and says what of it is read at the start only, unless
 * the process that started this one does.
 * @returns undefined: it is refused, which was logged
 */
export function readConfigAgain(
  running: LoadedConfig,
  sources: ConfigSources,
  log: Log,
  isWorker = false,
): Config | undefined {
  try {
    const read = loadConfig(sources);
    const { config, unapplied } = readAgain(running, read, sources.env?.["NODE_ENV"] === "production");
    if (isWorker) return config;
    for (const warning of read.warnings) log.warn({}, warning);
    if (unapplied.length > 0) log.warn({ options: unapplied }, UNAPPLIED);
    return config;
  } catch (error) {
    // What nobody thought of is no reason to end a node that serves.
    const { message } = error as Error;
    for (const reason of message.split("\n")) log.error({ reason }, REFUSED);
    return undefined;
  }
}

/** Gives a node the apps of a configuration that was read again, and logs what changed. */
export async function reloadNode(node: StarlingNode, config: Config, log: Log): Promise<void> {
  try {
    const { added, changed, removed, closed } = await node.reload(config);
    if (added.length + changed.length + removed.length === 0) {
      log.info({}, "SIGHUP: apps and namespaces were read again: none has changed");
      return;
    }
    log.info({ added, changed, removed, closed }, "SIGHUP: apps and namespaces were read again");
  } catch (error) {
    // A key that cannot be read, mostly. It names the app and the setting, and no key.
    log.error({ reason: (error as Error).message }, REFUSED);
  }
}
