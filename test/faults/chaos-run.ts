/** One run: a fleet, clients in processes of their own, faults by a seed, and the checker's verdict. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Verdict } from "./checker.js";
import { until } from "./clients.js";
import { readHashes, readPresence } from "./fleet-state.js";
import { startFleet, type Fleet, type FleetNode } from "./fleet.js";
import { judgeFiles } from "./judge.js";
import { Load } from "./load.js";
import { createRandom } from "./random.js";
import type { RegistryVerdict } from "./registry-checker.js";
import { FAULTS, type Fault, type FaultName } from "./repertoire.js";

export interface ChaosOptions {
  readonly seconds: number;
  readonly nodes: number;
  readonly clients: number;
  readonly channels: number;
  readonly channelsPerClient: number;
  /** Publications a second, half by clients and half by the server API. */
  readonly rate: number;
  readonly processes: number;
  readonly seed: number;
  readonly faults: readonly FaultName[];
  /** What the schedule begins with: a short run may draw none of what it is about. */
  readonly first?: readonly FaultName[] | undefined;
  /** Between the beginnings of two faults, on average. */
  readonly paceSeconds: number;
  /** Multiplies how long faults last. */
  readonly scale: number;
  readonly historySize: number;
  readonly historyTtlMs: number;
  /** When all faults are over, how long clients are waited for that are not at the top. */
  readonly catchUpSeconds: number;
  /** The built package: its command and, for half of the clients, its SDK. Default: dist/. */
  readonly dist?: string | undefined;
  /** false: every client is the kit's own, which knows nothing but the protocol. */
  readonly withSdk: boolean;
  /** Of the JSON that each client shows of itself to its channels; 0, the default: nothing. */
  readonly infoBytes?: number | undefined;
  /** What broken-node.ts is to switch off, which the checker must notice. */
  readonly sabotage?: string | undefined;
  readonly nodeArgs?: readonly string[];
  /** The evidence stays there, a file for each process. */
  readonly keep?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly print: (line: string) => void;
}

export interface ChaosResult {
  readonly verdict: Verdict;
  readonly registry: RegistryVerdict;
  /** What went wrong with the run itself: it counts as failed. */
  readonly troubles: readonly string[];
  /** How often each fault was done. */
  readonly faults: Readonly<Record<string, number>>;
  readonly ok: boolean;
}

const DIST = join(import.meta.dirname, "../../dist");
const NAMESPACE = "chat";
const SECRET = "a secret of the tests, 32 bytes long";
const READY_MS = 60_000;
const STATUS_LINE_MS = 10_000;
/** Little, so that slow readers are found. */
const BUFFERED_BYTES = 262_144;
/** An answer is at most a quarter of it: enough for 1,000 members with 1 kB. */
const BUFFERED_BYTES_WITH_INFO = 5_000_000;
const FLOOD = { publications: 120, fillerBytes: 60_000 } as const;
/** What a node counts that says what it went through; printed at the end. */
const METRICS =
  /^starling_(sessions_|session_faults|slow_closes|drop_reports|bridge_reconnects|envelopes_skipped|gaps?|feed|history|repair|stale|heartbeat_timeouts|presence)/;

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { print, seed } = options;
  const troubles: string[] = [];
  const trouble = (what: string): void => {
    troubles.push(what);
    print(`trouble: ${what}`);
  };
  const { historySize, historyTtlMs } = options;
  const rules = {
    historySize,
    historyTtlMs,
    recovery: true,
    presence: true,
    joinLeave: true,
    slowReader: "repair",
  };
  const fleet = await startFleet({
    nodes: options.nodes,
    dist: options.dist ?? DIST,
    sabotage: options.sabotage,
    args: [
      `--namespaces=${JSON.stringify({ [NAMESPACE]: rules })}`,
      `--max-buffered-bytes=${options.infoBytes === undefined ? BUFFERED_BYTES : BUFFERED_BYTES_WITH_INFO}`,
      `--jwt-secret=${SECRET}`,
      ...(options.nodeArgs ?? []),
    ],
    onCrash: trouble,
  });
  const directory = options.keep ?? (await mkdtemp(join(tmpdir(), "starling-chaos-")));
  let load: Load | undefined;
  try {
    const channels = Array.from({ length: options.channels }, (_, index) => `${NAMESPACE}:${index}`);
    load = new Load({
      ...options,
      ...{ directory, channels, trouble, secret: SECRET, readyMs: READY_MS },
      urls: fleet.nodes.map(({ wsUrl }) => wsUrl),
      apis: () => fleet.nodes.filter(({ running }) => running),
      dist: options.withSdk ? (options.dist ?? DIST) : undefined,
      catchUpMs: options.catchUpSeconds * 1_000,
    });
    const faults = await new Run(options, fleet, load, channels, trouble).go();
    const { verdict, registry } = await judgeFiles(load.files, { historySize, historyTtlMs });
    print(`registry: ${registry.connections} connections in the hashes, ${registry.claims} sessions resumed`);
    for (const detail of registry.details) print(`registry: ${detail}`);
    return { verdict, registry, troubles, faults, ok: verdict.ok && registry.ok && troubles.length === 0 };
  } finally {
    await load?.stop();
    await fleet.stop();
    if (options.keep === undefined) await rm(directory, { recursive: true, force: true });
    else print(`evidence in ${directory} (seed ${seed})`);
  }
}

class Run {
  readonly #look;
  readonly #startedAtMs = Date.now();
  readonly #faultCounts: Record<string, number> = {};
  /** What a fault is being done to. */
  readonly #busy = new Set<unknown>();
  readonly #faults = new Set<Promise<void>>();

  constructor(
    readonly options: ChaosOptions,
    readonly fleet: Fleet,
    readonly load: Load,
    readonly channels: readonly string[],
    readonly trouble: (what: string) => void,
  ) {
    this.#look = fleet.redis.client();
  }

  async go(): Promise<Record<string, number>> {
    const { print, seconds, signal } = this.options;
    if (!(await this.load.isReady("could subscribe", signal))) return this.#faultCounts;
    print(`${this.options.clients} clients are subscribed; faults for ${seconds} s`);
    this.load.start();
    const status = setInterval(() => print(this.#statusLine()), STATUS_LINE_MS);
    try {
      await this.#doFaults();
      await Promise.all(this.#faults);
    } finally {
      this.load.stopPublishing();
      clearInterval(status);
    }
    await this.#settle();
    await this.#readState();
    await this.load.finish();
    await this.#printMetrics();
    return this.#faultCounts;
  }

  #seconds(): string {
    return `${((Date.now() - this.#startedAtMs) / 1_000).toFixed(1).padStart(6)} s`;
  }

  #statusLine(): string {
    const { load } = this;
    return (
      `${this.#seconds()}  ${load.sum("ready")} clients ready, ${load.published} published, ` +
      `${load.sum("received")} received, ${load.sum("connects")} connects, ` +
      `${load.sum("superseded")} superseded`
    );
  }

  async #doFaults(): Promise<void> {
    const { seconds, paceSeconds, faults, signal } = this.options;
    const deadline = performance.now() + seconds * 1_000;
    // The schedule has numbers of its own: what clients do does not change it.
    const random = createRandom(this.options.seed);
    const first = [...(this.options.first ?? [])];
    const menu = faults.flatMap((name) => Array.from({ length: FAULTS[name].weight }, () => name));
    for (;;) {
      await delay(random.between(0.5, 1.5) * paceSeconds * 1_000);
      if (performance.now() > deadline || signal?.aborted === true) return;
      const name = first[0] ?? random.pick(menu);
      const node = random.pick(this.fleet.nodes);
      const fault: Fault = FAULTS[name];
      const target = fault.target === "node" ? node : fault.target;
      const free = !this.#busy.has(target);
      // One node at least is left alone.
      const others = this.fleet.nodes.filter((one) => one !== node && !this.#busy.has(one));
      if (!free || (fault.target === "node" && others.length === 0)) continue;
      first.shift();
      this.#busy.add(target);
      const done = this.#do(name, fault, node).finally(() => {
        this.#busy.delete(target);
        this.#faults.delete(done);
      });
      this.#faults.add(done);
    }
  }

  async #do(name: FaultName, fault: Fault, node: FleetNode): Promise<void> {
    const where = fault.target === "node" ? ` ${node.name}` : "";
    this.options.print(`${this.#seconds()}  fault: ${name}${where}`);
    this.#faultCounts[name] = (this.#faultCounts[name] ?? 0) + 1;
    let startMs = Date.now();
    const context = {
      fleet: this.fleet,
      look: this.#look,
      random: this.load.random,
      scale: this.options.scale,
      dropClients: (share: number) => this.load.dropClients(share),
      floodSlowReader: (ms: number) => this.#flood(ms),
    };
    try {
      await fault.run(context, node, () => (startMs = Date.now()));
    } catch (error) {
      this.trouble(`${name}${where} could not be done: ${String(error)}`);
    }
    const { losesData } = fault;
    this.load.record({ kind: "fault", name: `${name}${where}`, startMs, endMs: Date.now(), losesData });
  }

  async #flood(ms: number): Promise<void> {
    const { load } = this;
    const channel = load.random.pick(this.channels);
    load.random.pick(load.processes).send({ kind: "pause", ms, channel });
    const filler = "x".repeat(FLOOD.fillerBytes);
    for (let sent = 0; sent < FLOOD.publications; sent++) {
      load.publish(channel, filler);
      await delay(ms / 2 / FLOOD.publications);
    }
    await delay(ms / 2);
  }

  /** No fault any more. */
  async #settle(): Promise<void> {
    const { print } = this.options;
    print(`${this.#seconds()}  faults are over: settling`);
    const isReady = async (): Promise<boolean> =>
      (await Promise.all(this.fleet.nodes.map((node) => node.ready()))).every(Boolean);
    if (!(await until(isReady, READY_MS))) this.trouble("a node did not become ready again");
    const caughtUp = await this.load.settle();
    print(
      caughtUp
        ? `${this.#seconds()}  every client is at the top of its channels`
        : `${this.#seconds()}  ${this.load.sum("behind")} clients are not at the top of their channels`,
    );
  }

  async #readState(): Promise<void> {
    const { clients, channelsPerClient, print } = this.options;
    const { nodes } = this.fleet;
    const registry = await readHashes(nodes, this.#look, clients);
    print(`${this.#seconds()}  the registry ${registry.agrees ? "agrees" : "does not agree"} in number`);
    for (const record of registry.records) this.load.record(record);
    const members = clients * Math.min(channelsPerClient, this.channels.length);
    const presence = await readPresence(nodes, this.channels, SECRET, members);
    if (presence === undefined) return this.trouble("a node does not tell who is present");
    print(`${this.#seconds()}  presence ${presence.agrees ? "agrees" : "does not agree"} in number`);
    for (const record of presence.records) this.load.record(record);
  }

  async #printMetrics(): Promise<void> {
    for (const node of this.fleet.nodes) {
      const metrics = [...(await node.metrics())].filter(
        ([series, value]) => METRICS.test(series) && !/_bucket|_sum/.test(series) && value !== 0,
      );
      const told = metrics.map(([series, value]) => `${series.replace("starling_", "")} ${value}`);
      this.options.print(`${node.name}: ${told.join(", ")}`);
      const faults = metrics.find(([series]) => series === "starling_session_faults_total")?.[1] ?? 0;
      if (faults > 0) this.trouble(`${node.name} ended ${faults} sessions by a fault of its own`);
    }
  }
}
