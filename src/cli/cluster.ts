/** `starling cluster`: a private Redis and several nodes on one machine. */

import { loadConfig, ConfigError, type LoadedConfig } from "../config/load.js";
import { envName } from "../config/options.js";
import { environmentOf } from "./environment.js";
import { killAfterMs, startNodeProcess, type NodeProcess } from "./node-process.js";
import { startPrivateRedis, type PrivateRedis } from "./private-redis.js";
import { onStopSignals } from "./signals.js";
import { StartError } from "./start-error.js";

const MAX_NODES = 64;
/** Where nodes put their APIs unless told: the clients' ports begin at 8000. */
const API_PORT = 9000;

interface ClusterFlags {
  readonly nodes: string;
  readonly config?: string;
}

export async function clusterCommand({ nodes, config: configFile, ...flags }: ClusterFlags): Promise<void> {
  const count = /^\d+$/.test(nodes) ? Number(nodes) : 0;
  if (count < 1 || count > MAX_NODES) {
    throw new ConfigError(
      `--nodes: ${JSON.stringify(nodes)} is not allowed: a whole number from 1 to ${MAX_NODES}`,
    );
  }
  // Checked here once, so that a wrong flag is said once and not by every node.
  const loaded = loadConfig({ flags, env: process.env, configFile });
  if (loaded.config.workers > 1) {
    throw new ConfigError("--workers is for `starling serve`: here --nodes says how many processes run");
  }
  const ports = portsOf(loaded, count);

  let redis: PrivateRedis | undefined;
  const running: NodeProcess[] = [];
  let up = false;
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      // Redis goes last: the nodes still clear their state in it.
      await Promise.all(running.map((node) => node.stop(killAfterMs(loaded.config))));
      await redis?.stop();
    })());
  // Reached by process.exit too, as on a second Ctrl-C: nothing may be left running.
  process.on("exit", () => {
    for (const node of running) node.kill();
    redis?.kill();
  });
  const end = (reason: string): void => {
    say(`${reason}: stopping ${running.length} nodes`);
    void stop().then(
      () => process.exit(0),
      (error: unknown) => {
        say(`stopping failed: ${String(error)}`);
        process.exit(1);
      },
    );
  };
  onStopSignals(end, () => {
    for (const node of running) node.send({ kind: "reload" });
  });

  let redisUrl = loaded.config.redis;
  if (redisUrl === undefined) {
    redis = await startPrivateRedis();
    redisUrl = redis.url;
    say(`redis   ${redis.url} (private, in memory only)`);
    void redis.ended.then((how) => {
      if (stopping === undefined) say(`redis ended by ${how}: the nodes are not ready until it runs again`);
    });
  }
  const prefix = redis === undefined ? loaded.config.nodeId : "node";
  for (const [index, { port, apiPort }] of ports.entries()) {
    running.push(
      startNodeProcess(`${prefix}-${index + 1}`, {
        ...environmentOf(loaded, flags),
        // All stop together: there is no load balancer that would send anyone elsewhere.
        ...(loaded.origins.drainNoticeMs.kind === "default" && { [envName("drainNoticeMs")]: "0" }),
        [envName("redis")]: redisUrl,
        [envName("nodeId")]: `${prefix}-${index + 1}`,
        [envName("port")]: String(port),
        [envName("apiPort")]: String(apiPort),
      }),
    );
  }
  for (const node of running) {
    void node.ended.then((how) => {
      if (stopping !== undefined) return;
      const left = running.filter((other) => other.alive).length;
      say(`${node.id} ended by ${how}; ${left} of ${count} nodes are left`);
      if (left === 0 && up) void stop().then(() => process.exit(1));
    });
  }
  const ready = await Promise.all(running.map((node) => node.ready));
  if (stopping !== undefined) return;
  if (ready.includes(undefined)) {
    await stop();
    throw new StartError("cannot start the cluster: a node did not start, see above");
  }
  for (const [index, urls] of ready.entries()) {
    const shown = Object.entries(urls ?? {}).filter(([name]) => name !== "metrics");
    say([running[index]?.id, ...shown.map(([name, url]) => `${name} ${url}`)].join("  "));
  }
  up = true;
  say("running; Ctrl-C stops all");
}

function portsOf({ config, origins }: LoadedConfig, count: number): { port: number; apiPort: number }[] {
  const apiDefault = config.port === 0 ? 0 : API_PORT;
  const apiBase = origins.apiPort.kind === "default" ? apiDefault : config.apiPort;
  const at = (base: number, index: number): number => (base === 0 ? 0 : base + index);
  const ports = Array.from({ length: count }, (_, index) => ({
    port: at(config.port, index),
    apiPort: at(apiBase, index),
  }));
  const all = ports.flatMap(({ port, apiPort }) => [port, apiPort]).filter((port) => port !== 0);
  const tooHigh = all.find((port) => port > 65_535);
  if (tooHigh !== undefined)
    throw new ConfigError(`port ${tooHigh} is over 65535: ${count} nodes need consecutive ports`);
  const twice = all.find((port, index) => all.indexOf(port) !== index);
  if (twice !== undefined) {
    throw new ConfigError(
      `port ${twice} would be used twice: ${count} nodes take ${count} ports from --port ${config.port} ` +
        `and from --api-port ${apiBase}`,
    );
  }
  return ports;
}

function say(line: string): void {
  process.stdout.write(`cluster | ${line}\n`);
}
