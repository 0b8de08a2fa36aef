/**
 * Two nodes, one Redis, many clients: does a message reach everyone, do the totals
 * tell the truth, and are the clients of a killed node back on the other with what
 * they had? `npm run bench:failover -- --help`.
 */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { startPrivateRedis } from "../src/cli/programs/redis.js";
import { startNodeProcess, type NodeProcess } from "./support/processes.js";
import type { ClientReport, ClientRequest, ResumeSummary } from "./failover-clients.js";

const HELP = `Usage: npm run bench:failover -- [options]

  --connections N   clients on each of the two nodes (default 9500: with the node's own
                    descriptors, both nodes' clients must fit one process's file limit)
  --rate N          connects a second and node (default 400)
  --resume-s N      seconds that the clients of the killed node have to be back (default 60)
  --help
`;

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "9500" },
    rate: { type: "string", default: "400" },
    "resume-s": { type: "string", default: "60" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const perNode = positive("connections", values.connections);
const rate = positive("rate", values.rate);
const resumeSeconds = positive("resume-s", values["resume-s"]);
const everyone = perNode * 2;

let failures = 0;

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  process.stderr.write(`--${name} is ${text}: give a whole number above 0\n`);
  process.exit(2);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function check(what: string, found: unknown, wanted: unknown): void {
  const ok = found === wanted;
  if (!ok) failures++;
  print(`${ok ? "ok  " : "FAIL"} ${what}: ${String(found)}${ok ? "" : `, not ${String(wanted)}`}`);
}

/** A process that holds one node's clients. */
class Clients {
  readonly #child: ChildProcess;
  #summarised: ((summary: ResumeSummary) => void) | undefined;
  report: ClientReport = { ready: 0, resumed: 0, restarted: 0, common: {}, own: {}, errors: {} };

  constructor(urls: readonly string[], first: number) {
    this.#child = fork(new URL("./failover-clients.ts", import.meta.url), {
      execArgv: ["--import", "tsx"],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    this.#child.on("message", (message: ClientReport | ResumeSummary) => {
      if ("p50Ms" in message) this.#summarised?.(message);
      else this.report = message;
    });
    this.#send({ kind: "start", urls, first, count: perNode, rate });
  }

  summary(): Promise<ResumeSummary> {
    return new Promise((resolve) => {
      this.#summarised = resolve;
      this.#send({ kind: "summary" });
    });
  }

  #send(request: ClientRequest): void {
    this.#child.send(request);
  }

  /** Clients that have had the message `text` of the common channel. */
  common(text: string): number {
    return this.report.common[text] ?? 0;
  }

  own(text: string): number {
    return this.report.own[text] ?? 0;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, "exit");
    this.#send({ kind: "stop" });
    await exit;
  }
}

/** @returns milliseconds it took, or undefined when the time was up */
async function until(condition: () => boolean, seconds: number): Promise<number | undefined> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > seconds * 1000) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return performance.now() - start;
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? "not in time" : `${Math.round(value)} ms`;
}

async function call(node: NodeProcess, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${node.apiUrl}${path}`, {
    ...(body === undefined
      ? {}
      : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

function rssBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return pages * 4096;
}

/** A message to the common channel and one to each of 100 clients' own channels on either side. */
async function publishRound(via: NodeProcess, sides: readonly Clients[], round: string): Promise<void> {
  const start = performance.now();
  await call(via, "/v1/publish", { channel: "common", content: round });
  await until(() => sides.reduce((sum, side) => sum + side.common(round), 0) === everyone, 30);
  const reached = sides.reduce((sum, side) => sum + side.common(round), 0);
  check(`${round}: clients that one message to the common channel reached`, reached, everyone);
  print(`     in ${milliseconds(performance.now() - start)}, as the client processes reported it`);
  const sample = Math.min(100, perNode);
  for (const first of [0, perNode]) {
    const publications = Array.from({ length: sample }, (_, i) => ({
      channel: `own-${first + Math.floor((i * perNode) / sample)}`,
      content: round,
    }));
    await call(via, "/v1/publish-many", { publications });
  }
  const own = (): number => sides.reduce((sum, side) => sum + side.own(round), 0);
  await until(() => own() === sample * 2, 30);
  check(
    `${round}: clients that a message to their own channel reached, of ${sample * 2} sampled`,
    own(),
    sample * 2,
  );
}

async function main(): Promise<void> {
  print(
    `${everyone} clients on two nodes; ${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}, ` +
      `npm run bench:failover -- --connections ${perNode} --rate ${rate}`,
  );
  const redis = await startPrivateRedis();
  const look = new Redis(redis.url);
  const nodes: NodeProcess[] = [];
  const sides: Clients[] = [];
  try {
    for (const nodeId of ["a", "b"]) {
      nodes.push(
        await startNodeProcess([
          ...["--node-id", nodeId, "--redis", redis.url, "--port", "0", "--api-port", "0"],
          ...["--max-connections", String(everyone + 100), "--log-level", "error"],
        ]),
      );
    }
    const [a, b] = nodes as [NodeProcess, NodeProcess];
    const rssBefore = rssBytes(b.pid);
    const connecting = performance.now();
    sides.push(new Clients([a.wsUrl, b.wsUrl], 0), new Clients([b.wsUrl, a.wsUrl], perNode));
    const [ofA, ofB] = sides as [Clients, Clients];
    await until(() => ofA.report.ready + ofB.report.ready === everyone, 60 + (perNode / rate) * 4);
    check(
      "clients connected, each subscribed to its own channel and the common one",
      ofA.report.ready + ofB.report.ready,
      everyone,
    );
    print(`     in ${milliseconds(performance.now() - connecting)}`);
    print(
      `     node b: ${Math.round((rssBytes(b.pid) - rssBefore) / perNode)} bytes of memory a connection with its own channel`,
    );
    const registered = async (): Promise<number> =>
      (await look.hlen("ws:connections:a")) + (await look.hlen("ws:connections:b"));
    let hashed = 0;
    for (let i = 0; i < 100 && hashed !== everyone; i++) {
      hashed = await registered();
      if (hashed !== everyone) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    check("connections in the nodes' hashes", hashed, everyone);
    check("totals.connections", (await call(a, "/v1/totals"))["connections"], everyone);
    check("totals.nodes", (await call(b, "/v1/totals"))["nodes"], 2);
    await publishRound(a, sides, "before");

    print("SIGKILL to node a");
    a.kill("SIGKILL");
    const gone = (async () => {
      const start = performance.now();
      while ((await look.exists("ws:connections:a")) === 1) {
        if (performance.now() - start > 60_000) return undefined;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return performance.now() - start;
    })();
    await until(() => ofA.report.resumed + ofA.report.restarted === perNode, resumeSeconds);
    check("clients of node a that resumed their session on node b", ofA.report.resumed, perNode);
    const { p50Ms, p99Ms, maxMs } = await ofA.summary();
    print(
      `     half in ${milliseconds(p50Ms)}, 99 % in ${milliseconds(p99Ms)}, all in ${milliseconds(maxMs)}`,
    );
    const goneMs = await gone;
    check("the dead node's hash is gone", goneMs !== undefined, true);
    print(`     after ${milliseconds(goneMs)}`);
    let total: unknown;
    for (let i = 0; i < 100 && total !== everyone; i++) {
      total = (await call(b, "/v1/totals"))["connections"];
      if (total !== everyone) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    check("totals.connections", total, everyone);
    await publishRound(b, sides, "after");
    for (const side of sides) {
      const { errors } = side.report;
      if (Object.keys(errors).length > 0) print(`     client errors: ${JSON.stringify(errors)}`);
    }
  } finally {
    await Promise.all(sides.map((side) => side.stop()));
    await Promise.all(nodes.map((node) => node.stop()));
    look.disconnect();
    await redis.stop();
  }
}

await main();
print(failures === 0 ? "all checks hold" : `${failures} checks failed`);
process.exitCode = failures === 0 ? 0 : 1;
