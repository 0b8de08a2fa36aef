/** `starling serve`: one node, from its configuration to its exit code; or its workers. */

import { appsOf } from "../config/all-apps.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/options.js";
import { keepYoungGeneration } from "../heap.js";
import { createLog } from "../log.js";
import type { StarlingNode } from "../node.js";
import { readConfigAgain, reloadNode } from "./reload.js";
import { onStopSignals } from "./signals.js";
import { startError } from "./start-error.js";
import { linkWorker } from "./worker.js";
import type { Urls } from "./worker-messages.js";
import { serveWorkers } from "./workers.js";

interface ServeFlags {
  readonly config?: string;
  readonly exitWithParent?: true;
  readonly worker?: string;
}

export async function serveCommand({
  config: configFile,
  exitWithParent,
  worker,
  ...flags
}: ServeFlags): Promise<void> {
  const sources = { flags, env: process.env, configFile };
  const loaded = loadConfig(sources);
  const { config, warnings } = loaded;
  const log = createLog({ level: config.logLevel, format: config.logFormat, base: { node: config.nodeId } });
  // What is said once is enough.
  if (worker === undefined || worker === "1") for (const warning of warnings) log.warn({}, warning);
  if (worker === undefined && config.workers > 1) return serveWorkers(loaded, sources, log);

  let node: StarlingNode | undefined;
  /** Asked for while the node starts. */
  let reloadDue = false;
  const reload = (): void => {
    if (node === undefined) {
      reloadDue = true;
      return;
    }
    const again = readConfigAgain(loaded, sources, log, worker !== undefined);
    if (again !== undefined) void reloadNode(node, again, log);
  };
  const stop = onStopSignals((reason) => {
    // Before the node stands there is nothing to drain.
    if (node === undefined) process.exit(0);
    log.info({ reason, drainMs: config.drainMs }, "draining");
    node.drain().then(
      () => {
        log.info({}, "stopped");
        process.exit(0);
      },
      (error: unknown) => {
        log.error({ err: error }, "the drain failed");
        process.exit(1);
      },
    );
  }, reload);
  const link = exitWithParent ? linkWorker(reload) : undefined;
  if (exitWithParent) process.once("disconnect", () => stop("the parent process ended"));

  try {
    // Imported here, as it loads a native module that not every platform has.
    const { startNode } = await import("../node.js");
    const { youngGenerationBytes } = config;
    if (!keepYoungGeneration(youngGenerationBytes)) {
      log.warn(
        { youngGenerationBytes },
        "V8 keeps its young generation below youngGenerationBytes: NODE_OPTIONS, or little memory",
      );
    }
    node = await startNode(config, log, {
      ownsProcess: true,
      ...(worker !== undefined &&
        link !== undefined && {
          worker: {
            number: Number(worker),
            sharePort: !config.portPerWorker,
            metricsOfOthers: () => link.metricsOfOthers(),
            apiConnections: (take) => link.apiConnections(take),
          },
        }),
    });
  } catch (error) {
    throw startError(error, config.logLevel === "debug");
  }
  const urls = urlsOf(node, config);
  link?.ready(node, urls);
  if (reloadDue) reload();
  if (worker !== undefined) return;
  for (const [name, url] of Object.entries(urls)) process.stdout.write(`${name.padEnd(9)} ${url}\n`);
}

function urlsOf({ wsUrl, demoUrl, pusherDemoUrl, apiUrl }: StarlingNode, config: Config): Urls {
  const pusher = pusherLine(wsUrl, config);
  return {
    websocket: wsUrl,
    ...(pusher === undefined ? {} : { pusher }),
    ...(demoUrl === undefined ? {} : { demo: demoUrl }),
    ...(pusherDemoUrl === undefined ? {} : { "pusher-js": pusherDemoUrl }),
    metrics: `${apiUrl}/metrics`,
    api: apiUrl,
  };
}

/** @returns undefined where no app is there for Pusher's clients */
function pusherLine(wsUrl: string, config: Config): string | undefined {
  const [app, ...others] = appsOf(config).filter(({ keys }) => keys.length > 0);
  if (app === undefined) return undefined;
  const url = `${wsUrl}${config.pusherPath}/app/`;
  return others.length === 0
    ? `${url}${app.keys[0]!.key} (app ${app.id})`
    : `${url}KEY (${others.length + 1} apps with keys)`;
}
