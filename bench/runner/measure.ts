/** One stretch of traffic, measured: what went through, how late, and what it cost both sides. */

import { summarize } from "../load/histogram.js";
import type { LoadPlan, OpenedReport, StoppedReport, Traffic } from "../load/messages.js";
import { streamCount } from "../load/share.js";
import type { CpuUse, LatencySummary, ScenarioRun, Series } from "../types.js";
import type { LoadFleet } from "./load-fleet.js";
import { cpuSince, machineCpuSeconds, readCpu, rssBytesOf, type CpuReading } from "./processes.js";
import type { Placement } from "./placement.js";
import type { Target } from "./target.js";

const SAMPLE_MS = 250;
/** Nothing came for so long: what is missing is lost. A busy machine may keep all of them waiting for a second. */
const QUIET_MS = 5000;
/** What has not come so long after the load ended is late. */
const LATE_MS = 15_000;
const CLIENT_LIMIT = 0.9;
const SERVER_BUSY = 0.8;
const OTHERS_CORES_MAX = 0.15;

export interface Bench {
  readonly target: Target;
  readonly load: LoadFleet;
  readonly placement: Placement | undefined;
  /** Shows what goes on, on one line of the terminal. */
  progress(text: string): void;
}

export interface TrafficResult {
  readonly opened: OpenedReport;
  readonly stopped: StoppedReport;
  readonly latency: LatencySummary | undefined;
  readonly cpu: CpuUse;
  readonly series: readonly Series[];
  readonly lost: number;
  readonly late: number;
  readonly duplicated: number;
  readonly closed: number;
  readonly problems: readonly string[];
  readonly limited: ScenarioRun["limited"];
}

export interface TrafficTimes {
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

/** Opens the plan's connections, sends, and closes them. */
export async function measureTraffic(
  bench: Bench,
  plan: LoadPlan,
  traffic: Traffic,
  { warmUpSeconds, seconds }: TrafficTimes,
): Promise<TrafficResult> {
  const { load } = bench;
  bench.progress("connecting");
  const opened = await load.open(plan);
  try {
    requireConnections(opened);
    load.start(traffic);
    bench.progress("warming up");
    await sleep(warmUpSeconds * 1000);
    const meter = startMeter(bench);
    load.mark();
    await sleep(seconds * 1000);
    const stopping = load.stop();
    const { cpu, series } = meter.stop();
    const stopped = await stopping;
    bench.progress("waiting for what is under way");
    const settled = await load.settle(stopped.sentByStream, QUIET_MS, LATE_MS);
    const sum = (name: "lost" | "late" | "duplicated" | "reordered" | "misdelivered" | "closed"): number =>
      settled.reduce((total, each) => total + each[name], 0);
    const limited = limitOf(cpu, bench);
    const problems = [
      ...problemsOfOpening(opened),
      ...counted(sum("lost"), "deliveries lost"),
      ...counted(sum("late"), `deliveries not there ${LATE_MS / 1000} s after the load ended`),
      ...counted(sum("duplicated"), "deliveries duplicated"),
      ...counted(sum("reordered"), "deliveries out of order"),
      ...counted(sum("misdelivered"), "deliveries to the wrong subscriber"),
      ...counted(sum("closed"), "connections closed"),
      ...counted(stopped.behind, "messages not sent, as the server did not take them"),
      ...(streamCount(plan) > 0 && stopped.sent === 0 ? ["nothing was sent"] : []),
      ...new Set(settled.flatMap(({ errors }) => errors)),
      ...limitProblems(limited, cpu),
    ];
    return {
      opened,
      stopped,
      latency: summarize(settled.map(({ latency }) => latency)),
      cpu,
      series,
      lost: sum("lost"),
      late: sum("late"),
      duplicated: sum("duplicated"),
      closed: sum("closed"),
      problems,
      limited,
    };
  } finally {
    await load.close();
  }
}

/** @throws Error where nobody came in: what would be measured is nothing */
export function requireConnections(opened: OpenedReport): void {
  if (opened.connections > 0) return;
  throw new Error(`none of ${opened.failed} connections came in: ${opened.errors.join("; ")}`);
}

export function problemsOfOpening(opened: OpenedReport): string[] {
  if (opened.failed === 0) return [];
  return [`${opened.failed} connections failed: ${opened.errors.join("; ")}`];
}

/** What of the circumstances a reader must know: the generator at its limit, others on the machine. */
export function limitProblems(limited: ScenarioRun["limited"], cpu: CpuUse): string[] {
  const percent = (share: number): string => `${Math.round(share * 100)} %`;
  const problems: string[] = [];
  if (limited === "client") {
    problems.push(
      `the generator was the limit: it took ${percent(cpu.busiestClient)} of its core, the server ${percent(cpu.busiestServer)}`,
    );
  }
  const others = cpu.othersCores ?? 0;
  // Of less than a second the clock ticks of /proc say too little.
  if (others > OTHERS_CORES_MAX && cpu.wallSeconds > 1) {
    problems.push(`the machine was busy: other processes took ${others.toFixed(2)} cores`);
  }
  return problems;
}

export function limitOf(cpu: CpuUse, { target }: Pick<Bench, "target">): ScenarioRun["limited"] {
  // Of servers elsewhere it is only known whether the generator had room.
  if (cpu.busiestServer >= SERVER_BUSY && target.pids.length > 0) return "server";
  return cpu.busiestClient > CLIENT_LIMIT ? "client" : "none";
}

const meters = new Set<NodeJS.Timeout>();

/** Also of a case that failed, or was given up, while it measured. */
export function stopMeters(): void {
  for (const timer of meters) clearInterval(timer);
  meters.clear();
}

export interface Meter {
  stop(): { readonly cpu: CpuUse; readonly series: readonly Series[] };
}

/**
 * Samples both sides until it is stopped.
 * @param loadPids the processes that make the load, where they are not the load processes
 */
export function startMeter(bench: Bench, loadPids?: readonly number[]): Meter {
  const { target, load, placement } = bench;
  const redisPids = target.redisPid === undefined ? [] : [target.redisPid];
  const pids = { client: loadPids ?? load.pids, server: target.pids, redis: redisPids };
  const first = { client: readCpu(pids.client), server: readCpu(pids.server), redis: readCpu(pids.redis) };
  const machineBefore = machineCpuSeconds();
  const series = {
    deliveries: [] as [number, number][],
    connections: [] as [number, number][],
    serverRssBytes: [] as [number, number][],
    serverCpu: [] as [number, number][],
    clientCpu: [] as [number, number][],
  };
  let last = { ...first, deliveries: load.counters.deliveries };

  function sample(): void {
    const at = Math.round(performance.now() - first.client.atMs) / 1000;
    const { deliveries, live } = load.counters;
    const server = cpuSince(last.server, pids.server);
    const client = cpuSince(last.client, pids.client);
    const rate = Math.max(0, deliveries - last.deliveries) / client.wallSeconds;
    series.deliveries.push([at, Math.round(rate)]);
    series.connections.push([at, live]);
    series.clientCpu.push([at, client.seconds / client.wallSeconds]);
    if (pids.server.length > 0) {
      series.serverCpu.push([at, server.seconds / server.wallSeconds]);
      series.serverRssBytes.push([at, rssOf(pids.server)]);
    }
    last = { ...last, client: readCpu(pids.client), server: readCpu(pids.server), deliveries };
    bench.progress(`${live} connections, ${Math.round(rate).toLocaleString("en-US")} deliveries/s`);
  }
  const timer = setInterval(sample, SAMPLE_MS * 2);
  meters.add(timer);

  return {
    stop() {
      clearInterval(timer);
      meters.delete(timer);
      const units = {
        deliveries: "1/s",
        connections: "connections",
        serverRssBytes: "bytes",
        serverCpu: "cores",
        clientCpu: "cores",
      };
      const names = Object.keys(series) as (keyof typeof series)[];
      return {
        cpu: cpuUse(first, pids, placement, machineBefore),
        series: names
          .filter((name) => series[name].length > 1)
          .map((name) => ({ name, unit: units[name], points: series[name] })),
      };
    },
  };
}

function cpuUse(
  first: { client: CpuReading; server: CpuReading; redis: CpuReading },
  pids: { client: readonly number[]; server: readonly number[]; redis: readonly number[] },
  placement: Placement | undefined,
  machineBefore: number,
): CpuUse {
  const client = cpuSince(first.client, pids.client);
  const server = cpuSince(first.server, pids.server);
  const redis = cpuSince(first.redis, pids.redis);
  const machineSeconds = machineCpuSeconds() - machineBefore;
  const wall = client.wallSeconds;
  // Processes bound to one core can be at its limit together.
  const shared = (seconds: number, cores: readonly number[] | undefined): number =>
    cores === undefined ? 0 : seconds / wall / cores.length;
  return {
    wallSeconds: wall,
    clientSeconds: client.seconds,
    serverSeconds: server.seconds,
    ...(pids.redis.length > 0 && { redisSeconds: redis.seconds }),
    othersCores: Math.max(0, machineSeconds - client.seconds - server.seconds - redis.seconds) / wall,
    busiestClient: Math.max(client.busiest, shared(client.seconds + redis.seconds, placement?.loadCores)),
    busiestServer: Math.max(server.busiest, shared(server.seconds, placement?.serverCores)),
  };
}

export function rssOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (rssBytesOf(pid) ?? 0), 0);
}

export async function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const counted = (count: number, what: string): string[] =>
  count === 0 ? [] : [`${count.toLocaleString("en-US")} ${what}`];
