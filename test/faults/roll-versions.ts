/** The roll between two versions of docs/faults.md: `npx tsx test/faults/roll-versions.ts --help`. */

import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildOf } from "./builds.js";
import { describeVerdict } from "./checker.js";
import { describePassing } from "./passing-checker.js";
import { rollVersions, VERSIONS, WAYS, type Pass } from "./roll-versions-run.js";

const PASSES = "now:drain,before:drain,now:kill,before:kill";
const HELP = `Usage: npx tsx test/faults/roll-versions.ts --before-commit COMMIT [options]     (after npm run build)

Starts a private Redis, nodes of an earlier version and clients of this one, publishes steadily, replaces every node
by one of the other version, one after the other, and judges what the clients saw. After each replacement every node
is asked about, and commands, clients of every other one. Ends by itself, with 0 where nothing was lost, doubled or
out of order and all rosters were right.

  --before-commit C   the earlier version: built once, with the packages that are installed here
  --before DIR        the earlier version: a built package's dist/
  --now DIR           the later version (default dist/)
  --passes LIST       which version all nodes become, and how the ones before end: drain is SIGTERM, kill is SIGKILL
                      (default ${PASSES}); in the end one node
                      more is replaced, so that a fleet of both is judged
  --mixed-seconds N   between two replacements (default 15)
  --nodes N           (default 3)
  --clients N         (default 200), in --processes N processes (default 2)
  --channels N        with history and presence (default 30), and as many without, of which each client takes
                      --per-client N of both (default 3)
  --rate N            publications a second, half by clients, half by the server API (default 60)
  --drain-ms N        the nodes' drainMs (default 3000)
  --seed N            (default 1)
  --keep DIR          leaves the evidence there; chaos.ts --judge DIR judges it again
  --help
`;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function refuse(message: string): never {
  process.stderr.write(`roll-versions: ${message}\n`);
  process.exit(2);
}

function parse() {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      options: {
        ...{ before: text, "before-commit": text, now: text, passes: text, "mixed-seconds": text },
        ...{ nodes: text, clients: text, processes: text, channels: text, "per-client": text, rate: text },
        ...{ "drain-ms": text, seed: text, keep: text },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return refuse((error as Error).message);
  }
}

const values = parse();

function number(name: Exclude<keyof typeof values, "help">, fallback: number): number {
  const given = values[name];
  if (given === undefined) return fallback;
  const value = Number(given);
  if (Number.isSafeInteger(value) && value > 0) return value;
  return refuse(`--${name} is ${given}: give a whole number above 0`);
}

function passesOf(list: string): Pass[] {
  return list.split(",").map((pass) => {
    const [version, way] = pass.trim().split(":");
    const to = VERSIONS.find((one) => one === version);
    const by = WAYS.find((one) => one === way);
    if (to !== undefined && by !== undefined) return { to, by };
    return refuse(`--passes has "${pass}": give ${VERSIONS.join(" or ")}, a colon, ${WAYS.join(" or ")}`);
  });
}

function distBefore(): string {
  const { before, "before-commit": commit } = values;
  if ((before === undefined) === (commit === undefined)) return refuse("give --before-commit or --before");
  try {
    return commit === undefined ? resolve(before!) : buildOf(commit, print);
  } catch (error) {
    return refuse((error as Error).message);
  }
}

async function main(): Promise<number> {
  if (values.help) {
    print(HELP);
    return 0;
  }
  const passes = passesOf(values.passes ?? PASSES);
  const now = resolve(values.now ?? join(import.meta.dirname, "../../dist"));
  const before = distBefore();
  for (const dist of [before, now]) {
    if (!existsSync(join(dist, "cli.js"))) refuse(`${dist} is no built package: it has no cli.js`);
  }
  if (values.keep !== undefined) await mkdir(values.keep, { recursive: true });
  print(`${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`);
  print(`before: ${before}`);
  print(`now:    ${now}`);
  const { verdict, registry, passing, restarts, checks, troubles, ok } = await rollVersions({
    before: { dist: before },
    now: { dist: now },
    passes,
    nodes: number("nodes", 3),
    clients: number("clients", 200),
    processes: number("processes", 2),
    channels: number("channels", 30),
    channelsPerClient: number("per-client", 3),
    rate: number("rate", 60),
    mixedSeconds: number("mixed-seconds", 15),
    drainMs: number("drain-ms", 3_000),
    seed: number("seed", 1),
    ...{ historySize: 5_000, historyTtlMs: 600_000 },
    keep: values.keep,
    print,
  });
  for (const line of describeVerdict(verdict)) print(line);
  if (passing !== undefined) for (const line of describePassing(passing)) print(line);
  print(
    `registry       ${registry.connections} connections in the hashes, ${registry.claims} sessions resumed`,
  );
  for (const detail of registry.details) print(`     ${detail}`);
  print(`between nodes  ${checks} listings and commands after ${restarts} replacements`);
  for (const trouble of troubles) print(`trouble: ${trouble}`);
  print(ok ? "passed" : "FAILED");
  return ok ? 0 : 1;
}

process.exitCode = await main();
