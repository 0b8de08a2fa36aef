/** All nodes behind Envoy restarted one after the other, under clients and publications, and the checker's verdict. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NodePlace } from "../../scripts/stack/node-place.js";
import { startStack, type Stack } from "../../scripts/stack/start.js";
import type { Verdict } from "./checker.js";
import { until } from "./clients.js";
import { judgeFiles } from "./judge.js";
import { Load } from "./load.js";

export interface RollingRestartOptions {
  readonly nodes: number;
  readonly clients: number;
  readonly processes: number;
  readonly channels: number;
  readonly channelsPerClient: number;
  /** Publications a second, half by clients and half by the server API. */
  readonly rate: number;
  /** Of the nodes (docs/configuration.md). */
  readonly drainNoticeMs: number;
  readonly drainMs: number;
  readonly historySize: number;
  readonly historyTtlMs: number;
  readonly seed: number;
  /** Directory of the built package: every second client uses its SDK. */
  readonly dist: string;
  readonly keep?: string | undefined;
  readonly print: (line: string) => void;
}

/** What the restart of one node was for the clients. */
export interface Restart {
  readonly node: string;
  /** That it had when it was told to go. */
  readonly clients: number;
  /** Least share of all clients that were connected and subscribed. */
  readonly fewestReady: number;
  /** From SIGTERM until so many connected anew as 99 % of its clients; undefined: they never did. */
  readonly resumedSeconds: number | undefined;
  /** Averaged over its clients: how long one was away. */
  readonly awaySeconds: number;
  /** Most connects to Envoy within one second. */
  readonly connectsPerSecond: number;
  /** What even clients would be: its clients over drainMs. */
  readonly evenPerSecond: number;
  /** Of the other nodes, to which its clients went: the longest that one of them had meanwhile, of those it looks at. */
  readonly lagMs: number;
}

export interface RollingRestartResult {
  readonly verdict: Verdict;
  readonly restarts: readonly Restart[];
  readonly peakConnectsPerSecond: number;
  /** Answers of Envoy to clients. */
  readonly answers: { readonly "4xx": number; readonly "5xx": number };
  readonly troubles: readonly string[];
  readonly ok: boolean;
}

const NAMESPACE = "chat";
const READY_MS = 120_000;
const CATCH_UP_MS = 45_000;
const SAMPLE_MS = 100;
/** Between two nodes: what the first one's clients do to the others has come to rest. */
const PAUSE_MS = 1_000;
/** Clients of a run spread over nodes by key; many keys a node make the shares even. */
const KEYS = 1_000;
const RESUMED_SHARE = 0.99;
/** Sending away in slices bounds connects: chance and a busy machine bunch them, never as if all went at once. */
const CONNECTS_FACTOR = 3;
const CONNECTS_SLACK = 20;

interface Sample {
  readonly atMs: number;
  /** Connections that Envoy has had. */
  readonly connections: number;
  readonly ready: number;
  /** That clients have completed. */
  readonly connects: number;
}

export async function runRollingRestart(options: RollingRestartOptions): Promise<RollingRestartResult> {
  const troubles: string[] = [];
  const trouble = (what: string): void => {
    troubles.push(what);
    options.print(`trouble: ${what}`);
  };
  const { historySize, historyTtlMs } = options;
  const rules = { historySize, historyTtlMs, recovery: true };
  const stack = await startStack({
    nodes: options.nodes,
    nodeFlags: [
      `--namespaces=${JSON.stringify({ [NAMESPACE]: rules })}`,
      ...["--no-demo", "--log-level=warn"],
      ...[`--drain-notice-ms=${options.drainNoticeMs}`, `--drain-ms=${options.drainMs}`],
    ],
    onExit: (what, lastWords) => trouble(what + lastWords),
  });
  const directory = options.keep ?? (await mkdtemp(join(tmpdir(), "starling-rolling-")));
  let load: Load | undefined;
  try {
    const urls = Array.from({ length: KEYS }, (_, index) => `${stack.envoy.wsUrl}/?key=room-${index}`);
    load = new Load({
      ...options,
      ...{ urls, directory, trouble, readyMs: READY_MS, catchUpMs: CATCH_UP_MS },
      channels: Array.from({ length: options.channels }, (_, index) => `${NAMESPACE}:${index}`),
      // As an application's back end does: at Envoy's port for it.
      apis: () => [stack.envoy],
    });
    const run = new Run(options, stack, load, trouble);
    const restarts = await run.go();
    const answers = await run.answers();
    const { verdict } = await judgeFiles(load.files, { historySize, historyTtlMs });
    const peakConnectsPerSecond = Math.max(0, ...restarts.map(({ connectsPerSecond }) => connectsPerSecond));
    const ok = verdict.ok && verdict.notRecovered === 0 && troubles.length === 0;
    return { verdict, restarts, peakConnectsPerSecond, answers, troubles, ok };
  } finally {
    await load?.stop();
    await stack.stop();
    if (options.keep === undefined) await rm(directory, { recursive: true, force: true });
    else options.print(`evidence in ${directory}`);
  }
}

class Run {
  readonly #samples: Sample[] = [];

  constructor(
    readonly options: RollingRestartOptions,
    readonly stack: Stack,
    readonly load: Load,
    readonly trouble: (what: string) => void,
  ) {}

  async go(): Promise<Restart[]> {
    const { clients, print } = this.options;
    if (!(await this.load.isReady("could subscribe"))) return [];
    print(`${clients} clients are subscribed, through Envoy, to ${this.options.nodes} nodes`);
    this.load.start();
    const stopSampling = this.#sampleAlways();
    const restarts: Restart[] = [];
    try {
      await delay(PAUSE_MS);
      for (const node of this.stack.nodes) {
        const restart = await this.#restart(node);
        restarts.push(restart);
        print(describeRestart(restart));
        await delay(PAUSE_MS);
      }
    } finally {
      this.load.stopPublishing();
      await stopSampling();
    }
    await this.load.settle();
    await this.load.finish();
    return restarts;
  }

  async answers(): Promise<RollingRestartResult["answers"]> {
    const stats = await this.stack.envoy.stats("^http.edge.downstream_rq_[45]xx$");
    return {
      "4xx": stats.get("http.edge.downstream_rq_4xx") ?? 0,
      "5xx": stats.get("http.edge.downstream_rq_5xx") ?? 0,
    };
  }

  async #restart(node: NodePlace): Promise<Restart> {
    const { clients, drainMs } = this.options;
    const own = await metricOf(node, "starling_connections");
    const from = this.#samples.length;
    const { connects } = this.#sample(0);
    const others = this.stack.nodes.filter((other) => other !== node);
    // Counts from here on.
    await lagMsOf(others);
    const startedAtMs = performance.now();
    await node.end("SIGTERM");
    await node.start();
    const isBack = async (): Promise<boolean> =>
      (await this.stack.envoy.healthyNodes()) === this.options.nodes &&
      this.load.sum("ready") === clients &&
      this.load.sum("connects") - connects >= own * RESUMED_SHARE;
    if (!(await until(isBack, READY_MS))) {
      this.trouble(`after ${node.name} restarted ${this.load.sum("ready")} of ${clients} clients are there`);
    }
    // Its last window of a second belongs to it, too.
    await delay(1_000);
    const samples = this.#samples.slice(from);
    const resumed = samples.find(
      (sample) =>
        sample.connects - connects >= own * RESUMED_SHARE && sample.ready >= clients * RESUMED_SHARE,
    );
    const awayMs = samples.reduce(
      (sum, sample, index) =>
        sum + (clients - sample.ready) * (sample.atMs - (samples[index - 1]?.atMs ?? startedAtMs)),
      0,
    );
    return {
      node: node.name,
      clients: own,
      fewestReady: Math.min(...samples.map(({ ready }) => ready)) / clients,
      resumedSeconds: resumed === undefined ? undefined : (resumed.atMs - startedAtMs) / 1_000,
      awaySeconds: awayMs / 1_000 / Math.max(1, own),
      connectsPerSecond: peakOf(samples),
      evenPerSecond: own / (drainMs / 1_000),
      lagMs: await lagMsOf(others),
    };
  }

  #sampleAlways(): () => Promise<void> {
    let on = true;
    const sampling = (async () => {
      const name = "http.edge.downstream_cx_total";
      while (on) {
        const stats = await this.stack.envoy.stats(`^${name}$`);
        this.#samples.push(this.#sample(stats.get(name) ?? 0));
        await delay(SAMPLE_MS);
      }
    })();
    // Envoy that does not answer is found where this is awaited.
    sampling.catch(() => undefined);
    return () => {
      on = false;
      return sampling;
    };
  }

  #sample(connections: number): Sample {
    const [ready, connects] = [this.load.sum("ready"), this.load.sum("connects")];
    return { atMs: performance.now(), connections, ready, connects };
  }
}

async function metricOf(node: NodePlace, name: string): Promise<number> {
  const text = await (await fetch(`${node.apiUrl}/metrics`)).text();
  const found = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, "m").exec(text)?.[1];
  if (found === undefined) throw new Error(`${node.name} has no metric ${name}`);
  return Number(found);
}

/** The longest since it was asked before. */
async function lagMsOf(nodes: readonly NodePlace[]): Promise<number> {
  const lags = await Promise.all(nodes.map((node) => metricOf(node, "starling_event_loop_lag_max_seconds")));
  return Math.max(...lags) * 1_000;
}

/** Most new connections in any second. */
function peakOf(samples: readonly Sample[]): number {
  let peak = 0;
  let first = 0;
  for (const { atMs, connections } of samples) {
    while (atMs - samples[first]!.atMs > 1_000) first++;
    // A window is a second or a sample longer.
    const before = samples[Math.max(0, first - 1)]!;
    peak = Math.max(peak, ((connections - before.connections) * 1_000) / Math.max(1_000, atMs - before.atMs));
  }
  return Math.round(peak);
}

export function isBounded({ connectsPerSecond, evenPerSecond }: Restart): boolean {
  return connectsPerSecond <= evenPerSecond * CONNECTS_FACTOR + CONNECTS_SLACK;
}

export function describeRestart(restart: Restart): string {
  const { node, clients, fewestReady, resumedSeconds, awaySeconds } = restart;
  const { connectsPerSecond, evenPerSecond, lagMs } = restart;
  const resumed = resumedSeconds === undefined ? "never" : `${resumedSeconds.toFixed(1)} s after SIGTERM`;
  return (
    `${node}: ${clients} clients, 99 % of them resumed ${resumed}; each was away ${awaySeconds.toFixed(2)} s on average; ` +
    `at least ${(fewestReady * 100).toFixed(1)} % of all were served; ` +
    `peak ${connectsPerSecond} connects/s (even: ${evenPerSecond.toFixed(0)}); ` +
    `the others' event loop lagged ${lagMs.toFixed(1)} ms at most`
  );
}
