/** `npx tsx test/faults/rolling-restart.ts --help`: docs/faults.md, docs/envoy.md. */

import { mkdir } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeVerdict } from "./checker.js";
import { describePassing } from "./passing-checker.js";
import { isBounded, runRollingRestart } from "./rolling-restart-run.js";

const HELP = `Usage: npx tsx test/faults/rolling-restart.ts [options]     (after npm run build)

Starts the stack (a private Redis, nodes, Envoy) and clients in processes of their own, half of them
the SDK's, or with --pusher all of them pusher-js and one of them a page in Chromium, publishes steadily, restarts every node by SIGTERM one after the other, and judges what the
clients saw. Ends by itself, with 0 where nothing was lost and connects were bounded.

  --clients N         (default 5000), in --processes N processes (default 3)
  --nodes N           (default 3)
  --channels N        (default 100), of which each client takes --per-client N (default 2)
  --rate N            publications a second, half by clients, half by the server API (default 20)
  --pusher            see above; channels have no history then
  --notice-ms N       the nodes' drainNoticeMs (default 2000)
  --drain-ms N        the nodes' drainMs (default 10000)
  --upgrade-rate N    the nodes' upgradeRate (default: the nodes')
  --seed N            (default 1)
  --keep DIR          leaves the evidence there; chaos.ts --judge DIR judges it again
  --help
`;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function refuse(message: string): never {
  process.stderr.write(`rolling-restart: ${message}\n`);
  process.exit(2);
}

function parse() {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      options: {
        ...{ clients: text, processes: text, nodes: text, channels: text, "per-client": text, rate: text },
        ...{ "notice-ms": text, "drain-ms": text, "upgrade-rate": text, seed: text, keep: text },
        pusher: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const values = parse();

function number(name: Exclude<keyof typeof values, "help" | "pusher" | "keep">, fallback: number): number {
  const given = values[name];
  if (given === undefined) return fallback;
  const value = Number(given);
  if (Number.isSafeInteger(value) && value > 0) return value;
  return refuse(`--${name} is ${given}: give a whole number above 0`);
}

async function main(): Promise<number> {
  if (values.help) {
    print(HELP);
    return 0;
  }
  if (values.keep !== undefined) await mkdir(values.keep, { recursive: true });
  print(`${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`);
  const { verdict, passing, restarts, peakConnectsPerSecond, answers, troubles, ok } =
    await runRollingRestart({
      clients: number("clients", 5_000),
      processes: number("processes", 3),
      nodes: number("nodes", 3),
      channels: number("channels", 100),
      channelsPerClient: number("per-client", 2),
      rate: number("rate", 20),
      drainNoticeMs: number("notice-ms", 2_000),
      drainMs: number("drain-ms", 10_000),
      upgradeRate: values["upgrade-rate"] === undefined ? undefined : number("upgrade-rate", 1),
      seed: number("seed", 1),
      pusher: values.pusher,
      ...{ historySize: 2_000, historyTtlMs: 600_000 },
      dist: resolve(join(import.meta.dirname, "../../dist")),
      keep: values.keep,
      print,
    });
  const told = passing === undefined ? describeVerdict(verdict) : describePassing(passing);
  for (const line of told) print(line);
  print(`answers of Envoy to clients: ${answers["4xx"]} of 4xx, ${answers["5xx"]} of 5xx`);
  const { silentLosses } = (passing ?? verdict).failures;
  print(`lost ${silentLosses}, told recovered: false ${verdict.notRecovered}`);
  print(`peak ${peakConnectsPerSecond} connects/s`);
  const slowest = Math.max(...restarts.map(({ resumedSeconds }) => resumedSeconds ?? Infinity));
  print(`99 % resumed within ${slowest.toFixed(1)} s of SIGTERM, at every node`);
  const bounded = restarts.length > 0 && restarts.every(isBounded);
  if (!bounded) print("connects were not bounded by the drain");
  for (const trouble of troubles) print(`trouble: ${trouble}`);
  print(ok && bounded ? "passed" : "FAILED");
  return ok && bounded ? 0 : 1;
}

process.exitCode = await main();
