/** `starling cluster`: a private Redis, several nodes and one address in front of them, to try out what a fleet does. */

import { appsOf, isClosed, isLoopback, isOpen, isProduction, OPEN_MODE } from "../config.js";
import { loadConfig, ConfigError } from "../config/load.js";
import { envName } from "../config/options.js";
import { envoyFront, startBalancer, startEnvoyFront, whyNoEnvoy, type Front } from "./cluster/front.js";
import { clusterNodes, type RunningNode } from "./cluster/nodes.js";
import { clusterPorts, NODE_HOST, type PortPair } from "./cluster/ports.js";
import { urlHost } from "../url-host.js";
import { environmentOf } from "./environment.js";
import { killAfterMs } from "./node-process.js";
import { hasProgram, howToInstall } from "./programs/program.js";
import { startPrivateRedis, type PrivateRedis } from "./programs/redis.js";
import { onNpmGone, onStopSignals } from "./signals.js";
import { StartError } from "./start-error.js";

const MAX_NODES = 64;
/** How often nodes are asked for their clients, to name one that has some. */
const LOOK_INTERVAL_MS = 1000;

interface ClusterFlags {
  readonly nodes: string;
  readonly config?: string;
}

export async function clusterCommand({
  nodes: asked,
  config: configFile,
  ...flags
}: ClusterFlags): Promise<void> {
  const count = /^\d+$/.test(asked) ? Number(asked) : 0;
  if (count < 1 || count > MAX_NODES) {
    throw new ConfigError(
      `--nodes: ${JSON.stringify(asked)} is not allowed: a whole number from 1 to ${MAX_NODES}`,
    );
  }
  // Checked here once, so that a wrong flag is said once and not by every node.
  const loaded = loadConfig({ flags, env: process.env, configFile });
  const { config, origins } = loaded;
  if (config.workers > 1) {
    throw new ConfigError("--workers is for `starling serve`: here --nodes says how many processes run");
  }
  const ports = await clusterPorts(loaded, count);
  for (const warning of loaded.warnings) say(`warning: ${warning}`);
  // The nodes cannot say it: they are at 127.0.0.1, behind the address that is open.
  const open = appsOf(config).filter((app) => isOpen(app) && !isClosed(app, isProduction()));
  if (!isLoopback(config.host) && open.length > 0) {
    say(`warning: ${OPEN_MODE} (${config.host})`);
  }
  if (config.redis === undefined && !hasProgram("redis-server")) {
    throw new StartError(`${howToInstall("redis-server")}, or name a running one by --redis URL`);
  }
  const envoy = await envoyFront(config, ports);
  const noEnvoy = await whyNoEnvoy(config, envoy);

  let redis: PrivateRedis | undefined;
  let redisUrl = config.redis;
  let front: Front | undefined;
  let stopping: Promise<void> | undefined;
  const byDefault = (name: "drainNoticeMs" | "clientAddressHops"): boolean =>
    origins[name].kind === "default";
  const nodes = clusterNodes({
    count,
    name: redisUrl === undefined ? "node" : config.nodeId,
    envNameOfId: envName("nodeId"),
    environment: (index) => ({
      ...environmentOf(loaded, flags),
      // The front finds out by itself, and Ctrl-C stops all together.
      ...(byDefault("drainNoticeMs") && { [envName("drainNoticeMs")]: "0" }),
      // Envoy adds the one address that it saw.
      ...(noEnvoy === undefined && byDefault("clientAddressHops") && { [envName("clientAddressHops")]: "1" }),
      [envName("redis")]: redisUrl,
      [envName("host")]: NODE_HOST,
      [envName("apiHost")]: NODE_HOST,
      [envName("port")]: String(ports.nodes[index]?.port),
      [envName("apiPort")]: String(ports.nodes[index]?.apiPort),
    }),
    onStart: ({ id, pid, urls }) =>
      say(`${id}  websocket ${urls["websocket"] ?? ""}  api ${urls["api"] ?? ""}  pid ${pid}`),
    onEnd: (id, pid, how, left, againInMs) =>
      say(
        `${id} (pid ${pid}) ended by ${how}; ${left} of ${count} nodes are left; it starts again in ${againInMs / 1000} s`,
      ),
  });

  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      // Redis goes last: the nodes still clear their state in it.
      await nodes.stop(killAfterMs(config));
      await front?.stop();
      await redis?.stop();
    })());
  // Reached by process.exit too, as on a second Ctrl-C: nothing may be left running.
  process.on("exit", () => nodes.kill());
  const end = (reason: string): void => {
    say(`${reason}: stopping ${count} nodes`);
    void stop().then(
      () => process.exit(0),
      (error: unknown) => {
        say(`stopping failed: ${String(error)}`);
        process.exit(1);
      },
    );
  };
  const stopOnce = onStopSignals(end, () => nodes.send({ kind: "reload" }));
  onNpmGone(() => stopOnce("npm ended"));

  if (redisUrl === undefined) {
    redis = await startPrivateRedis({
      onExit: (what, lastWords) => say(`${what}: stop the cluster and start it again${lastWords}`),
    });
    redisUrl = redis.url;
    say(`redis  ${redisUrl} (private, in memory only)  pid ${redis.pid}`);
  }
  const started = await nodes.start();
  if (stopping !== undefined) return;
  if (!started) {
    await stop();
    throw new StartError("cannot start the cluster: a node did not start, see above");
  }
  try {
    front = await (noEnvoy === undefined ? startEnvoyFront(envoy, say) : startBalancer(config, ports));
  } catch (error) {
    await stop();
    throw error;
  }
  if (stopping !== undefined) return void front.stop();
  say(
    `front  ${noEnvoy === undefined ? "Envoy, with envoy.yaml" : `a TCP balancer of this command: ${noEnvoy}`}`,
  );
  for (const [name, url] of frontUrls(config, ports.front, nodes.running[0])) say(`${name.padEnd(9)} ${url}`);
  tellWhomToKill();
  say("running; Ctrl-C stops all");

  /** Names another when the one that was named has no client any more and another has. */
  function tellWhomToKill(): void {
    let named: RunningNode | undefined;
    const look = (): void => {
      const { running } = nodes;
      const still = running.find(({ pid }) => pid === named?.pid);
      const [busiest] = [...running].sort((a, b) => b.clients - a.clients);
      if (busiest !== undefined && (still === undefined || (still.clients === 0 && busiest.clients > 0))) {
        named = busiest;
        const { id, pid, clients } = busiest;
        const has =
          clients === 0
            ? "open the demo page; "
            : `${clients === 1 ? "1 client is" : `${clients} clients are`} on ${id}: `;
        say(`${has}now kill -9 ${pid} and watch (${id} starts again)`);
      }
      nodes.ask();
    };
    look();
    setInterval(look, LOOK_INTERVAL_MS);
  }
}

/** Those of a node, at the ports in front. */
function frontUrls(
  { host, apiHost }: { readonly host: string; readonly apiHost: string },
  { port, apiPort }: PortPair,
  node: RunningNode | undefined,
): [string, string][] {
  return ["websocket", "pusher", "demo", "api"].flatMap((name): [string, string][] => {
    const url = node?.urls[name];
    if (url === undefined) return [];
    const [at, to] = name === "api" ? [apiHost, apiPort] : [host, port];
    return [[name, url.replace(/\/\/[^/]+/, `//${urlHost(at)}:${to}`)]];
  });
}

function say(line: string): void {
  process.stdout.write(`cluster | ${line}\n`);
}
