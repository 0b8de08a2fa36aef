/**
 * What one attacker costs a node and the other clients on it: `npm run bench:attack -- --help`.
 * Each attack meets a new node, first without the attacker (the control), then with it.
 */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpus, setPriority } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { attacks, type Attack, type Damage, type Target } from "./attack/attacks.js";
import type { ToAttacker } from "./attack/attacker.js";
import type { Measured, ToNeighbour } from "./attack/neighbour.js";
import { placementFor } from "./runner/placement.js";
import { bind, cpuSecondsOf, rssBytesOf } from "./runner/processes.js";
import { startNodeProcess, type NodeProcess } from "./support/processes.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const HELP = `Usage: npm run bench:attack -- [options]

  --checkout DIR   built checkout whose node is attacked; several times: each in turn (default this one)
  --seconds N      of the control and of the attack (default 5)
  --only NAME      an attack; several times. Known: ${attacks.map(({ name }) => name).join("; ")}
  --node PATH      Node.js that runs the nodes (default this one)
  --help
`;

const { values } = parseArgs({
  options: {
    checkout: { type: "string", multiple: true, default: [ROOT] },
    seconds: { type: "string", default: "5" },
    only: { type: "string", multiple: true, default: attacks.map(({ name }) => name) },
    node: { type: "string", default: process.execPath },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const seconds = Number(values.seconds);
if (!Number.isSafeInteger(seconds) || seconds < 1 || seconds > 60) {
  process.stderr.write(`--seconds is ${values.seconds}: give a whole number from 1 to 60\n`);
  process.exit(2);
}
const unknown = values.only.find((name) => !attacks.some((attack) => attack.name === name));
if (unknown !== undefined) {
  process.stderr.write(`--only is ${unknown}: known are ${attacks.map(({ name }) => name).join(", ")}\n`);
  process.exit(2);
}

interface Row {
  readonly attack: string;
  readonly checkout: string;
  /** Of a core, 0 to 1. */
  readonly cpu: number;
  readonly control: Measured;
  readonly attacked: Measured;
  readonly grownBytes: number;
  readonly damage: Damage;
}

/** Attackers yield to the neighbour, with whom they share a core: what it waits for is the node. */
const NICE = 19;
const HISTORY_ITEMS = 100;
const HISTORY_ITEM_BYTES = 60_000;
const placement = placementFor(1);
const namespaces = JSON.stringify({
  history: { historySize: HISTORY_ITEMS, historyTtlMs: 600_000, recovery: true },
});

function helper(file: string): ChildProcess {
  return fork(new URL(`./attack/${file}`, import.meta.url), { execArgv: ["--import", "tsx"] });
}

function place(pid: number | undefined, cores: readonly number[] | undefined): void {
  if (pid !== undefined && cores !== undefined) bind(pid, cores);
}

async function fillHistory(node: NodeProcess): Promise<string> {
  let epoch = "";
  for (let n = 0; n < HISTORY_ITEMS; n++) {
    const response = await fetch(`${node.apiUrl}/v1/publish`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer bench-key-of-sixteen" },
      body: JSON.stringify({ channel: "history:full", content: { n, text: "x".repeat(HISTORY_ITEM_BYTES) } }),
    });
    if (!response.ok) throw new Error(`/v1/publish answered ${response.status}: ${await response.text()}`);
    epoch = ((await response.json()) as { epoch: string }).epoch;
  }
  return epoch;
}

async function run(attack: Attack, checkout: string): Promise<Row> {
  const node = await startNodeProcess(
    [
      ...["--port", "0", "--api-port", "0", "--log-level", "error", "--no-demo"],
      ...["--namespaces", namespaces, "--api-keys", "bench-key-of-sixteen", ...(attack.flags ?? [])],
    ],
    { cli: join(checkout, "dist/cli.js"), fileLimit: attack.fileLimit, node: values.node },
  );
  const neighbour = helper("neighbour.ts");
  const attacker = helper("attacker.ts");
  try {
    place(node.pid, placement?.serverCores);
    place(neighbour.pid, placement?.loadCores);
    place(attacker.pid, placement?.loadCores);
    if (attacker.pid !== undefined) setPriority(attacker.pid, NICE);
    const epoch = await fillHistory(node);
    const target: Target = { clients: dialOf(node.wsUrl), api: dialOf(node.apiUrl) };
    const ask = async <Answer>(message: ToNeighbour): Promise<Answer> => {
      const answer = once(neighbour, "message") as Promise<[Answer]>;
      neighbour.send(message);
      return (await answer)[0];
    };
    await ask({ kind: "start", target });
    const control = await ask<Measured>({ kind: "measure", ms: seconds * 1000 });
    const rssBefore = rssBytesOf(node.pid) ?? 0;
    const cpuBefore = cpuSecondsOf(node.pid) ?? 0;
    const startMs = performance.now();
    attacker.send({ kind: "run", attack: attack.name, target, epoch } satisfies ToAttacker);
    let most = 0;
    const looking = setInterval(() => (most = Math.max(most, rssBytesOf(node.pid) ?? 0)), 100);
    const attacked = await ask<Measured>({ kind: "measure", ms: seconds * 1000 });
    clearInterval(looking);
    const cpu = ((cpuSecondsOf(node.pid) ?? 0) - cpuBefore) / ((performance.now() - startMs) / 1000);
    const told = once(attacker, "message") as Promise<[Damage]>;
    attacker.send({ kind: "stop" } satisfies ToAttacker);
    const [damage] = await told;
    return { attack: attack.name, checkout, cpu, control, attacked, grownBytes: most - rssBefore, damage };
  } finally {
    neighbour.kill("SIGKILL");
    attacker.kill("SIGKILL");
    await node.stop();
  }
}

function dialOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

function line(row: Row): string {
  const { control, attacked, damage } = row;
  const percent = (share: number): string => `${Math.round(share * 100)} %`;
  const cells = [
    row.attack,
    ...(values.checkout.length > 1 ? [row.checkout] : []),
    percent(row.cpu),
    `${control.p99Ms.toFixed(1)}`,
    `${attacked.p99Ms.toFixed(1)} (${(attacked.p99Ms / control.p99Ms).toFixed(1)} x)`,
    String(attacked.lost),
    percent(attacked.admitted),
    percent(attacked.healthy),
    `${Math.round(row.grownBytes / 2 ** 20)}`,
    `${Math.round(damage.sent)} / ${damage.refused} / ${damage.closed}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

const heads = [
  "attack",
  ...(values.checkout.length > 1 ? ["checkout"] : []),
  "CPU of the node",
  "neighbour's p99 before, ms",
  "under attack, ms",
  "not back",
  "neighbour admitted",
  "/healthz in 1 s",
  "RSS grown, MB",
  "sent / refused / closed",
];
process.stdout.write(
  `${cpus()[0]?.model.trim() ?? "unknown"}, ${cpus().length} cores; Node ${process.version}; ` +
    `${placement?.words ?? "no cores of their own"}; ${seconds} s each\n` +
    `$ npm run bench:attack -- ${process.argv.slice(2).join(" ")}\n\n` +
    `| ${heads.join(" | ")} |\n|${heads.map(() => " --- |").join("")}\n`,
);
for (const attack of attacks.filter(({ name }) => values.only.includes(name))) {
  for (const checkout of values.checkout) {
    process.stdout.write(`${line(await run(attack, resolve(checkout)))}\n`);
  }
}
