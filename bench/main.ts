/** `npm run bench -- --help` */

import { writeFile } from "node:fs/promises";
import { CommanderError } from "commander";
import { parseCommand, type BenchCommand } from "./command.js";
import { onNodes } from "./peers/on-node.js";
import { namesOf, participants, runBench, unavailableOf } from "./runner/run.js";
import { withoutSecrets } from "./runner/secret.js";
import { printable } from "./runner/table.js";
import { countText, type Case } from "./scenarios/case.js";
import { scenarios } from "./scenarios/index.js";
import type { Peer, WriteReport } from "./types.js";

const REPORT = "./report/index.js";

async function main(argv: readonly string[]): Promise<number> {
  let command: BenchCommand;
  try {
    command = parseCommand(argv);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const { options } = command;
  const { peerByName } = await import("./peers/index.js");
  const found = await Promise.all(command.peers.map((name) => peerByName(name, options)));
  const peers = onNodes(found, command.nodeBinaries);
  const cases = command.scenarios.flatMap((name) => scenarios[name].cases(options));
  print(planText(command, cases, peers));
  if (command.planOnly) return 0;

  const interrupted = new AbortController();
  // Again and again it stays the same: what was started must not be left running.
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (!interrupted.signal.aborted) print("ending: what was started is being stopped");
      interrupted.abort();
    });
  }
  const result = await runBench({
    cases,
    peers,
    options,
    command: `npm run bench -- ${withoutSecrets(argv).join(" ")}`.trimEnd(),
    reference: command.reference,
    progress,
    print,
    signal: interrupted.signal,
  });
  progress("");
  print(printable(result));
  if (command.jsonFile !== undefined) {
    await writeFile(command.jsonFile, `${JSON.stringify(result, null, 1)}\n`);
    print(`result: ${command.jsonFile}`);
  }
  if (command.reportFile !== undefined) {
    const { writeReport } = (await import(REPORT)) as { writeReport: WriteReport };
    await writeReport(result, command.reportFile);
    print(`report: ${command.reportFile}`);
  }
  // Steps that were left behind still wait for something.
  if (interrupted.signal.aborted) process.exit(130);
  return result.runs.length === 0 ? 1 : 0;
}

function planText({ options }: BenchCommand, cases: readonly Case[], peers: readonly Peer[]): string {
  let total = 0;
  const lines = cases.map((each) => {
    const names = namesOf(participants(each, peers, options).running, options);
    const seconds = each.seconds * names.length * options.runs;
    total += seconds;
    const who = names.join(", ") || "no peer that can";
    return `  ${`${each.scenario}, ${each.variant}`.padEnd(52)} ${duration(seconds).padStart(7)}  ${who}`;
  });
  const runs = `${countText(options.runs)} ${options.runs === 1 ? "run" : "runs"} of each`;
  const advice = options.runs < 5 && !options.quick ? "; give --runs 5 for a spread worth quoting" : "";
  return [`Plan, about ${duration(total)}, ${runs}${advice}:`, ...lines, ...unavailableOf(peers), ""].join(
    "\n",
  );
}

function duration(seconds: number): string {
  return seconds < 100 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

let shown = 0;

function progress(text: string): void {
  if (!process.stderr.isTTY) return;
  const line = text.slice(0, (process.stderr.columns || 80) - 1);
  process.stderr.write(`\r${line.padEnd(shown)}${text === "" ? "\r" : ""}`);
  shown = line.length;
}

function print(line: string): void {
  progress("");
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
