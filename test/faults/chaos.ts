/** The long run of docs/faults.md: `npx tsx test/faults/chaos.ts --help`. */

import { mkdir, readdir } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { runChaos } from "./chaos-run.js";
import { describeVerdict } from "./checker.js";
import { judgeFiles } from "./judge.js";
import { describePassing } from "./passing-checker.js";
import { FAULT_NAMES, FAULTS, type FaultName } from "./repertoire.js";

const HELP = `Usage: npx tsx test/faults/chaos.ts [options]     (after npm run build)

Starts a private Redis, nodes and clients, does random faults to them, and judges what the
clients saw. Ends by itself, with 0 where everything held.

  --minutes N         how long faults are done (default 10); --seconds N for less
  --nodes N           (default 3)
  --clients N         (default 300), in --processes N processes (default 3)
  --channels N        (default 50), of which each client takes --per-client N (default 5)
  --info-bytes N      each client shows so many bytes of JSON to its channels, by its token (at most 1024; default 0)
  --rate N            publications a second, half by clients, half by the server API (default 60)
  --seed N            repeats a run's schedule of faults (default: random, printed)
  --faults a,b        only these (default: all)
  --no-data-loss      only faults by which Redis loses nothing: then every client must recover
  --pace N            seconds from one fault to the next, on average (default 4)
  --scale N           multiplies how long faults last (default 1)
  --history-size N    publications that a channel keeps (default 2000)
  --break NAME        switches something off in the nodes (repair): the checker must fail
  --dist DIR          the built package (default: dist)
  --no-sdk            no client uses the SDK; else every second one does
  --keep DIR          leaves the evidence there; --judge DIR judges it again, without a run
  --help

Faults:
${FAULT_NAMES.map((name) => `  ${name.padEnd(14)} ${FAULTS[name].meaning}${FAULTS[name].losesData ? "  (loses data)" : ""}`).join("\n")}
`;

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const { values } = parse();

function parse() {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      options: {
        ...{ minutes: text, seconds: text, nodes: text, clients: text, channels: text, rate: text },
        ...{ processes: text, "per-client": text, seed: text, faults: text, pace: text, scale: text },
        ...{ "history-size": text, "info-bytes": text, break: text, dist: text, keep: text, judge: text },
        "no-sdk": { type: "boolean", default: false },
        "no-data-loss": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return refuse((error as Error).message);
  }
}

function refuse(message: string): never {
  process.stderr.write(`chaos: ${message}\n`);
  process.exit(2);
}

function number(name: keyof typeof values, fallback: number, { whole = true } = {}): number {
  const given = values[name];
  if (given === undefined) return fallback;
  const value = Number(given);
  const allowed = value > 0 && Number.isFinite(value) && (!whole || Number.isSafeInteger(value));
  if (allowed || (name === "seed" && value === 0)) return value;
  return refuse(`--${name} is ${String(given)}: give a ${whole ? "whole " : ""}number above 0`);
}

function chosenFaults(): readonly FaultName[] {
  const named = values.faults?.split(",").map((name) => name.trim());
  const unknown = named?.find((name) => !(FAULT_NAMES as readonly string[]).includes(name));
  if (unknown !== undefined) refuse(`there is no fault "${unknown}": one of ${FAULT_NAMES.join(", ")}`);
  const chosen = FAULT_NAMES.filter((name) => named === undefined || named.includes(name));
  const left = chosen.filter((name) => !values["no-data-loss"] || !FAULTS[name].losesData);
  if (left.length === 0) refuse("no fault is left to do");
  return left;
}

async function main(): Promise<number> {
  if (values.help) {
    print(HELP);
    return 0;
  }
  const history = { historySize: number("history-size", 2_000), historyTtlMs: 600_000 };
  if (values.judge !== undefined) {
    const names = (await readdir(values.judge)).filter((name) => name.endsWith(".jsonl")).sort();
    const { verdict, registry, passing } = await judgeFiles(
      names.map((name) => join(values.judge!, name)),
      history,
    );
    for (const line of describeVerdict(verdict)) print(line);
    for (const detail of registry.details) print(`registry: ${detail}`);
    if (passing !== undefined) for (const line of describePassing(passing)) print(line);
    return verdict.ok && registry.ok && passing?.ok !== false ? 0 : 1;
  }
  const seed = number("seed", Math.floor(Math.random() * 1_000_000));
  const seconds =
    values.seconds === undefined ? number("minutes", 10, { whole: false }) * 60 : number("seconds", 0);
  const faults = chosenFaults();
  if (values.keep !== undefined) await mkdir(values.keep, { recursive: true });
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      print(`${signal}: no more faults; again to end at once`);
      abort.abort();
      process.once(signal, () => process.exit(130));
    });
  }
  const counted = (name: keyof typeof values, fallback: number) => number(name, fallback);
  const options = {
    ...{ seconds, seed, faults, ...history, catchUpSeconds: 45 },
    nodes: counted("nodes", 3),
    clients: counted("clients", 300),
    channels: counted("channels", 50),
    channelsPerClient: counted("per-client", 5),
    rate: counted("rate", 60),
    processes: counted("processes", 3),
    infoBytes: values["info-bytes"] === undefined ? undefined : counted("info-bytes", 0),
    paceSeconds: number("pace", 4, { whole: false }),
    scale: number("scale", 1, { whole: false }),
    dist: values.dist === undefined ? undefined : resolve(values.dist),
    withSdk: !values["no-sdk"],
    ...{ sabotage: values.break, keep: values.keep, signal: abort.signal, print },
  };
  print(`seed ${seed}; ${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`);
  print(
    `faults: ${faults.join(", ")}${options.sabotage === undefined ? "" : `; broken: ${options.sabotage}`}`,
  );
  const { verdict, troubles, faults: done, ok } = await runChaos(options);
  print(
    `faults done    ${Object.entries(done)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ")}`,
  );
  for (const line of describeVerdict(verdict)) print(line);
  for (const trouble of troubles) print(`trouble: ${trouble}`);
  const lossless = faults.every((name) => !FAULTS[name].losesData);
  if (lossless && verdict.notRecovered > 0) print("Redis lost nothing, and not every client recovered");
  print(`seed ${seed}: ${ok ? "passed" : "FAILED"}`);
  return ok ? 0 : 1;
}

process.exitCode = await main();
