/** A fleet rolled from one version to another and back, node by node, under load, and what the checkers say of it. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { checkBothWays } from "./both-ways.js";
import { until } from "./clients.js";
import { readHashes, readPresence } from "./fleet-state.js";
import { startFleet, type Fleet, type FleetNode, type NodeBuild } from "./fleet.js";
import { judgeFiles, type Verdicts } from "./judge.js";
import { Load } from "./load.js";

export const VERSIONS = ["before", "now"] as const;
export type Version = (typeof VERSIONS)[number];
/** drain: by SIGTERM. kill: by SIGKILL. */
export const WAYS = ["drain", "kill"] as const;

/** All nodes one after the other. */
export interface Pass {
  readonly to: Version;
  readonly by: (typeof WAYS)[number];
}

export interface RollOptions {
  readonly before: NodeBuild;
  readonly now: NodeBuild;
  readonly passes: readonly Pass[];
  readonly nodes: number;
  readonly clients: number;
  readonly processes: number;
  /** With history, presence and joins and leaves, and as many without any of it. */
  readonly channels: number;
  /** Of each kind. */
  readonly channelsPerClient: number;
  /** Publications a second, half by clients and half by the server API, and of both half with history. */
  readonly rate: number;
  /** How long the fleet is left as it is after each restart. */
  readonly mixedSeconds: number;
  readonly drainMs: number;
  readonly historySize: number;
  readonly historyTtlMs: number;
  readonly seed: number;
  readonly nodeArgs?: readonly string[] | undefined;
  readonly keep?: string | undefined;
  readonly print: (line: string) => void;
}

export interface RollResult extends Verdicts {
  readonly restarts: number;
  /** Questions and commands between nodes. */
  readonly checks: number;
  readonly troubles: readonly string[];
  readonly ok: boolean;
}

const NAMESPACE = "chat";
/** Of no namespace: without history. */
const PASSING = "passing";
const SECRET = "a secret of the tests, 32 bytes long";
const SKIPPED = "starling_envelopes_skipped_total";
const READY_MS = 90_000;
const CATCH_UP_MS = 45_000;

export async function rollVersions(options: RollOptions): Promise<RollResult> {
  const { print, historySize, historyTtlMs } = options;
  const troubles: string[] = [];
  const trouble = (what: string): void => {
    troubles.push(what);
    print(`trouble: ${what}`);
  };
  const rules = {
    ...{ historySize, historyTtlMs, recovery: true, slowReader: "repair" },
    ...{ presence: true, joinLeave: true },
  };
  const fleet = await startFleet({
    ...options.before,
    nodes: options.nodes,
    args: [
      `--namespaces=${JSON.stringify({ [NAMESPACE]: rules })}`,
      `--jwt-secret=${SECRET}`,
      `--drain-ms=${options.drainMs}`,
      ...(options.nodeArgs ?? []),
    ],
    onCrash: trouble,
  });
  const directory = options.keep ?? (await mkdtemp(join(tmpdir(), "starling-roll-")));
  let load: Load | undefined;
  try {
    const numbers = Array.from({ length: options.channels }, (_, index) => index);
    const channels = numbers.map((number) => `${NAMESPACE}:${number}`);
    load = new Load({
      ...options,
      ...{ directory, channels, trouble, secret: SECRET, readyMs: READY_MS, catchUpMs: CATCH_UP_MS },
      passingChannels: numbers.map((number) => `${PASSING}:${number}`),
      urls: fleet.nodes.map(({ wsUrl }) => wsUrl),
      apis: () => fleet.nodes.filter(({ running }) => running),
      dist: options.now.dist,
    });
    const run = new Run(options, fleet, load, channels, trouble);
    await run.go();
    const verdicts = await judgeFiles(load.files, { historySize, historyTtlMs });
    const { verdict, registry, passing } = verdicts;
    if (verdict.notRecovered > 0) trouble(`${verdict.notRecovered} times a client was told recovered: false`);
    if ((passing?.gaps ?? 0) > 0) trouble(`${passing?.gaps} times a client was told a gap without history`);
    const ok = verdict.ok && registry.ok && passing?.ok === true && troubles.length === 0;
    return { ...verdicts, restarts: run.restarts, checks: run.checks, troubles, ok };
  } finally {
    await load?.stop();
    await fleet.stop();
    if (options.keep === undefined) await rm(directory, { recursive: true, force: true });
    else print(`evidence in ${directory}`);
  }
}

class Run {
  restarts = 0;
  checks = 0;
  readonly #versions = new Map<FleetNode, Version>();
  readonly #startedAtMs = Date.now();

  constructor(
    readonly options: RollOptions,
    readonly fleet: Fleet,
    readonly load: Load,
    readonly channels: readonly string[],
    readonly trouble: (what: string) => void,
  ) {}

  async go(): Promise<void> {
    const { clients, mixedSeconds } = this.options;
    const { nodes } = this.fleet;
    if (!(await this.load.isReady("could subscribe"))) return;
    this.#print(`${clients} clients are subscribed to ${nodes.length} nodes of the version before`);
    this.load.start();
    try {
      await delay(mixedSeconds * 1_000);
      for (const pass of this.options.passes) {
        for (const node of nodes) await this.#replace(node, pass);
      }
      // What is judged in the end is a fleet of both versions.
      const last = this.#versionOf(nodes[0]!);
      await this.#replace(nodes[0]!, { to: last === "now" ? "before" : "now", by: "drain" });
    } finally {
      this.load.stopPublishing();
    }
    const caughtUp = await this.load.settle();
    if (!caughtUp) this.trouble(`${this.load.sum("behind")} clients are not at the top of their channels`);
    for (const node of nodes) await this.#checkSkipped(node);
    await this.#readState();
    await this.load.finish();
  }

  /** A node of the version takes the place of this one. */
  async #replace(node: FleetNode, { to, by }: Pass): Promise<void> {
    await this.#checkSkipped(node);
    const startMs = Date.now();
    await node[by]();
    await node.start(undefined, this.options[to]);
    this.load.record({
      kind: "fault",
      name: `${by} ${node.name}`,
      startMs,
      endMs: Date.now(),
      losesData: false,
    });
    this.#versions.set(node, to);
    this.restarts++;
    if (!(await until(() => node.ready(), READY_MS))) this.trouble(`${node.name} did not become ready`);
    // Nobody would come to the new one by itself.
    this.load.dropClients(1 / this.fleet.nodes.length);
    await this.load.isReady(`are there after ${node.name} was replaced`);
    const fleet = this.fleet.nodes.map((one) => this.#versionOf(one)).join(", ");
    this.#print(`${node.name} was replaced (${by}): ${fleet}; ${this.load.published} published`);
    this.checks += await checkBothWays({
      nodes: this.fleet.nodes,
      secret: SECRET,
      channel: `${NAMESPACE}:witnesses-${this.restarts}`,
      describe: (one) => `${one.name} (${this.#versionOf(one)})`,
      trouble: this.trouble,
    });
    await delay(this.options.mixedSeconds * 1_000);
  }

  /** What one version writes the other reads: history would repair it unseen. */
  async #checkSkipped(node: FleetNode): Promise<void> {
    const skipped = (await node.metrics()).get(SKIPPED);
    if (skipped === 0) return;
    const what = skipped === undefined ? `does not count ${SKIPPED}` : `could not read ${skipped} envelopes`;
    this.trouble(`${node.name} (${this.#versionOf(node)}) ${what}`);
  }

  #versionOf(node: FleetNode): Version {
    return this.#versions.get(node) ?? "before";
  }

  async #readState(): Promise<void> {
    const { clients, channelsPerClient } = this.options;
    const { nodes, redis } = this.fleet;
    const registry = await readHashes(nodes, redis.client(), clients);
    for (const record of registry.records) this.load.record(record);
    const members = clients * Math.min(channelsPerClient, this.channels.length);
    const presence = await readPresence(nodes, this.channels, SECRET, members);
    if (presence === undefined) return this.trouble("a node does not tell who is present");
    for (const record of presence.records) this.load.record(record);
  }

  #print(line: string): void {
    this.options.print(`${((Date.now() - this.#startedAtMs) / 1_000).toFixed(1).padStart(6)} s  ${line}`);
  }
}
