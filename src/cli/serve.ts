/** `starling serve`: one node, from its configuration to its exit code. */

import { loadConfig } from "../config/load.js";
import { createLog } from "../log.js";
import type { StarlingNode } from "../node.js";
import { onStopSignals } from "./signals.js";
import { startError } from "./start-error.js";

interface ServeFlags {
  readonly config?: string;
  readonly exitWithParent?: true;
}

export async function serveCommand({
  config: configFile,
  exitWithParent,
  ...flags
}: ServeFlags): Promise<void> {
  const { config, warnings } = loadConfig({ flags, env: process.env, configFile });
  const log = createLog({ level: config.logLevel, format: config.logFormat, base: { node: config.nodeId } });
  for (const warning of warnings) log.warn({}, warning);

  let node: StarlingNode | undefined;
  const stop = onStopSignals((reason) => {
    // Before the node stands there is nothing to drain.
    if (node === undefined) process.exit(0);
    log.info({ reason, drainMs: config.drainMs }, "draining");
    node.drain().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, "the drain failed");
        process.exit(1);
      },
    );
  });
  if (exitWithParent) process.once("disconnect", () => stop("the parent process ended"));

  try {
    // Imported here, as it loads a native module that not every platform has.
    const { startNode } = await import("../node.js");
    node = await startNode(config, log);
  } catch (error) {
    throw startError(error, config.logLevel === "debug");
  }
  process.stdout.write(urls(node));
}

function urls({ wsUrl, demoUrl, apiUrl }: StarlingNode): string {
  const lines = [
    ["websocket", wsUrl],
    ...(demoUrl === undefined ? [] : [["demo", demoUrl]]),
    ["metrics", `${apiUrl}/metrics`],
    ["api", apiUrl],
  ];
  return lines.map(([name, url]) => `${name?.padEnd(9)} ${url}\n`).join("");
}
