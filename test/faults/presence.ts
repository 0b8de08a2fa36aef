/** `npx tsx test/faults/presence.ts --help`: docs/faults.md. */

import { mkdir } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describePresence } from "./presence-checker.js";
import { HARMS, runPresence, type HarmName } from "./presence-run.js";

const HELP = `Usage: npx tsx test/faults/presence.ts [options]     (after npm run build)

Starts a private Redis, nodes and users in presence channels: Pusher's clients on raw WebSockets, every
fifth user native. They reload, open second tabs, change nodes, leave, unsubscribe and come back, while
nodes are killed or stand still and Redis loses its record. What every tab was told is judged against who
was there. Ends by itself, with 0 where everything was right.

  --seconds N         how long users act (default 300)
  --nodes N           (default 3)
  --users N           (default 200)
  --rate N            what users do in a second, all together (default 8)
  --pace N            seconds from one harm to the next, on average (default 20)
  --harms a,b         done in turn, of ${HARMS.join(", ")} (default: kill,kill,flush,kill,stall,evict,cut)
  --seed N            (default: random, printed)
  --dist DIR          the built package (default: dist)
  --keep DIR          leaves the evidence there
  --help
`;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function refuse(message: string): never {
  process.stderr.write(`presence: ${message}\n`);
  process.exit(2);
}

function parse() {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      options: {
        ...{ seconds: text, nodes: text, users: text, rate: text, pace: text, harms: text, seed: text },
        ...{ dist: text, keep: text, help: { type: "boolean", default: false } },
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

function chosenHarms(): readonly HarmName[] {
  const named = (values.harms ?? "kill,kill,flush,kill,stall,evict,cut")
    .split(",")
    .map((name) => name.trim());
  const unknown = named.find((name) => !(HARMS as readonly string[]).includes(name));
  if (unknown !== undefined) refuse(`there is no harm "${unknown}": one of ${HARMS.join(", ")}`);
  return named as HarmName[];
}

async function main(): Promise<number> {
  if (values.help) {
    print(HELP);
    return 0;
  }
  if (values.keep !== undefined) await mkdir(values.keep, { recursive: true });
  const seed = number("seed", Math.floor(Math.random() * 1_000_000));
  print(`seed ${seed}; ${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`);
  const { verdict, troubles, actions, harms, ok } = await runPresence({
    seconds: number("seconds", 300),
    nodes: number("nodes", 3),
    users: number("users", 200),
    rate: number("rate", 8),
    paceSeconds: number("pace", 20),
    harms: chosenHarms(),
    // The defaults of a node.
    ...{ leaseTtlMs: 10_000, presenceTtlMs: 60_000, presenceGraceMs: 3_000, killedLeaveMs: 20_000 },
    seed,
    dist: resolve(values.dist ?? join(import.meta.dirname, "../../dist")),
    ...{ keep: values.keep, print },
  });
  const listed = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ");
  print(`users did      ${listed(actions)}`);
  print(`harms          ${listed(harms)}`);
  for (const line of describePresence(verdict)) print(line);
  for (const trouble of troubles.slice(0, 20)) print(`trouble: ${trouble}`);
  print(`seed ${seed}: ${ok ? "passed" : "FAILED"}`);
  return ok ? 0 : 1;
}

process.exitCode = await main();
