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
import type { PassingVerdict } from "./passing-checker.js";
import { openPusherPage, type PusherPage } from "./pusher-page.js";

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
  /** Default: the nodes'. */
  readonly upgradeRate?: number | undefined;
  /** The clients are pusher-js, of channels without history, and one is a page in Chromium; else they are native. */
  readonly pusher?: boolean;
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
  /** Of the page, where there is one: how long it was away. */
  readonly pageAwayMs: number | undefined;
}

export interface RollingRestartResult {
  readonly verdict: Verdict;
  /** Of channels without history. */
  readonly passing: PassingVerdict | undefined;
  readonly restarts: readonly Restart[];
  readonly peakConnectsPerSecond: number;
  /** Answers of Envoy to clients. */
  readonly answers: { readonly "4xx": number; readonly "5xx": number };
  readonly troubles: readonly string[];
  readonly ok: boolean;
}

const NAMESPACE = "chat";
const PUSHER_APP = { key: "key-of-the-restart", secret: "secret-of-the-restart" };
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
  const names = (prefix: string): string[] =>
    Array.from({ length: options.channels }, (_, index) => `${prefix}${index}`);
  const stack = await startStack({
    nodes: options.nodes,
    nodeFlags: [
      `--namespaces=${JSON.stringify({ [NAMESPACE]: rules })}`,
      ...["--no-demo", "--log-level=warn"],
      ...[`--app-key=${PUSHER_APP.key}`, `--app-secret=${PUSHER_APP.secret}`],
      ...[`--drain-notice-ms=${options.drainNoticeMs}`, `--drain-ms=${options.drainMs}`],
      ...(options.upgradeRate === undefined ? [] : [`--upgrade-rate=${options.upgradeRate}`]),
    ],
    onExit: (what, lastWords) => trouble(what + lastWords),
  });
  const directory = options.keep ?? (await mkdtemp(join(tmpdir(), "starling-rolling-")));
  let load: Load | undefined;
  let page: PusherPage | undefined;
  try {
    const urls = Array.from({ length: KEYS }, (_, index) => `${stack.envoy.wsUrl}/?key=room-${index}`);
    load = new Load({
      ...options,
      ...{ urls, directory, trouble, readyMs: READY_MS, catchUpMs: CATCH_UP_MS },
      ...(options.pusher === true
        ? { channels: [], passingChannels: names("room-"), pusherKey: PUSHER_APP.key, dist: undefined }
        : { channels: names(`${NAMESPACE}:`) }),
      // As an application's back end does: at Envoy's port for it.
      apis: () => [stack.envoy],
    });
    if (options.pusher === true) page = await openPusherPage({ ...PUSHER_APP, wsUrl: stack.envoy.wsUrl });
    const run = new Run(options, stack, load, page, trouble);
    const restarts = await run.go();
    const answers = await run.answers();
    for (const what of (await page?.troubles()) ?? []) trouble(`the page: ${what}`);
    const { verdict, passing } = await judgeFiles(load.files, { historySize, historyTtlMs });
    const peakConnectsPerSecond = Math.max(0, ...restarts.map(({ connectsPerSecond }) => connectsPerSecond));
    const whole = options.pusher === true ? passing?.ok === true : verdict.ok && verdict.notRecovered === 0;
    const ok = whole && troubles.length === 0;
    return { verdict, passing, restarts, peakConnectsPerSecond, answers, troubles, ok };
  } finally {
    await page?.close();
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
    readonly page: PusherPage | undefined,
    readonly trouble: (what: string) => void,
  ) {}

  async go(): Promise<Restart[]> {
    const { clients, print } = this.options;
    if (!(await this.load.isReady("could subscribe"))) return [];
    if (!(await until(() => this.#pageIsWhole(), READY_MS))) this.trouble("the page could not subscribe");
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
    const startedAt = Date.now();
    await node.end("SIGTERM");
    await node.start();
    const isBack = async (): Promise<boolean> =>
      (await this.stack.envoy.healthyNodes()) === this.options.nodes &&
      this.load.sum("ready") === clients &&
      this.load.sum("connects") - connects >= (own - this.#pages) * RESUMED_SHARE &&
      (await this.#pageIsWhole());
    if (!(await until(isBack, READY_MS))) {
      this.trouble(`after ${node.name} restarted ${this.load.sum("ready")} of ${clients} clients are there`);
    }
    // Its last window of a second belongs to it, too.
    await delay(1_000);
    const samples = this.#samples.slice(from);
    const resumed = samples.find(
      (sample) =>
        sample.connects - connects >= (own - this.#pages) * RESUMED_SHARE &&
        sample.ready >= clients * RESUMED_SHARE,
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
      pageAwayMs: await this.#pageAwayMs(startedAt),
    };
  }

  /** It is one of a node's clients, and none of the load's. */
  get #pages(): number {
    return this.page === undefined ? 0 : 1;
  }

  async #pageIsWhole(): Promise<boolean> {
    return this.page === undefined || (await this.page.changes()).at(-1)?.whole === true;
  }

  async #pageAwayMs(sinceMs: number): Promise<number | undefined> {
    const changes = await this.page?.changes();
    return changes?.reduce((sum, { whole, atMs }, index) => {
      const wentMs = changes[index - 1]?.atMs ?? -Infinity;
      return whole && wentMs >= sinceMs ? sum + atMs - wentMs : sum;
    }, 0);
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
  const { connectsPerSecond, evenPerSecond, lagMs, pageAwayMs } = restart;
  const resumed = resumedSeconds === undefined ? "never" : `${resumedSeconds.toFixed(1)} s after SIGTERM`;
  return (
    `${node}: ${clients} clients, 99 % of them resumed ${resumed}; each was away ${awaySeconds.toFixed(2)} s on average; ` +
    `at least ${(fewestReady * 100).toFixed(1)} % of all were served; ` +
    `peak ${connectsPerSecond} connects/s (even: ${evenPerSecond.toFixed(0)}); ` +
    `the others' event loop lagged ${lagMs.toFixed(1)} ms at most` +
    (pageAwayMs === undefined ? "" : `; the page was away for ${pageAwayMs} ms`)
  );
}
