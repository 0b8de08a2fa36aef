import type { OpenedReport } from "../load/messages.js";
import { LoadFleet } from "../runner/load-fleet.js";
import {
  limitOf,
  limitProblems,
  problemsOfOpening,
  requireConnections,
  rssOf,
  sleep,
  startMeter,
} from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import type { CpuUse, Figure, Series } from "../types.js";
import {
  OVERHEAD_SECONDS,
  countText,
  figure,
  hasServerCpu,
  planOf,
  sourcesFor,
  type Case,
  type CaseBench,
} from "./case.js";

const CONNECTIONS = 13_000;
/** Connections that are there before memory is first read: what a server needs once is not counted per connection. */
const FIRST_SHARE = 0.25;
/** What a server does after a client came in, it has done by then. */
const REST_MS = 3_000;
/** V8 frees pages, and the kernel counts them, a little after the collection. */
const COLLECTED_MS = 1_000;
/** Opened so often before it is measured: code that ran once is not yet compiled, on any server. */
const WARM_UP_ROUNDS = 2;
const ROUNDS = 3;
/** What a server does about its connections a little later is counted too, and done before the next round. */
const LATER_MS = 500;
const EXPECTED_PER_SECOND = 3000;

const perSecond = (value: number): Figure =>
  figure("connectionsPerSecond", "accept + subscribe", "1/s", "higher", value);
const perCoreSecond = (value: number): Figure =>
  figure(
    "connectionsPerServerCoreSecond",
    "accept + subscribe per server core second",
    "1/s",
    "higher",
    value,
  );

/** Connections that subscribe to one channel and then are idle. */
export function connectCases(options: BenchOptions): Case[] {
  if (options.cold) return [coldCase(options)];
  const connections = options.connections ?? (options.quick ? 200 : CONNECTIONS);
  const restMs = options.quick ? 500 : REST_MS;
  return [
    {
      scenario: "connect",
      variant: `${countText(connections)} connections`,
      nodes: options.nodes ?? 1,
      features: { collects: true },
      redis: "usual",
      needs: [],
      seconds:
        ((1 + WARM_UP_ROUNDS + ROUNDS) * connections) / EXPECTED_PER_SECOND +
        (2 * (restMs + 2 * COLLECTED_MS)) / 1000 +
        OVERHEAD_SECONDS,
      async run(bench) {
        const problems: string[] = [];
        const sources = sourcesFor(connections, bench.target.urls);
        const open = async (load: LoadFleet, subscribersPerChannel: number): Promise<OpenedReport> => {
          const plan = planOf(bench, { channels: 1, publishers: 0, subscribersPerChannel });
          const opened = await load.open({ ...plan, sources });
          requireConnections(opened);
          problems.push(...problemsOfOpening(opened));
          return opened;
        };
        const first = Math.round(connections * FIRST_SHARE);
        const openRest = (): Promise<OpenedReport> => open(bench.load, connections - first);
        const others = await LoadFleet.start(1, bench.placement);
        try {
          await open(others, first);
          const { series, rssBytes } = await measureMemory(bench, openRest, restMs);
          const { cpu, connected, seconds } = await measureRate(bench, openRest);
          const limited = limitOf(cpu, bench);
          const figures = [perSecond(connected / seconds)];
          if (hasServerCpu(bench)) {
            figures.unshift(
              figure("rssBytesPerConnection", "RSS per idle connection", "bytes", "lower", rssBytes),
              perCoreSecond(connected / cpu.serverSeconds),
            );
          }
          problems.push(...limitProblems(limited, cpu));
          return { figures, series, cpu, limited, problems: [...new Set(problems)] };
        } finally {
          await bench.load.close();
          await others.end();
        }
      },
    },
  ];
}

const COLD_CONNECTIONS = 10_000;
/** When memory is read after the last connection came; and once more after --minutes. */
const COLD_READ_MS = 5_000;

/** What a server that has just started takes, and what it then holds: nobody collects its garbage. */
function coldCase(options: BenchOptions): Case {
  const connections = options.connections ?? (options.quick ? 200 : COLD_CONNECTIONS);
  const readMs = [COLD_READ_MS, Math.max(COLD_READ_MS + 1_000, options.holdMinutes * 60_000)].map((ms) =>
    options.quick ? ms / 50 : ms,
  );
  return {
    scenario: "connect",
    variant: `${countText(connections)} connections, cold`,
    nodes: options.nodes ?? 1,
    features: {},
    redis: "usual",
    needs: [],
    seconds: connections / EXPECTED_PER_SECOND + readMs.at(-1)! / 1000 + OVERHEAD_SECONDS,
    async run(bench) {
      await sleep(LATER_MS);
      const empty = rssOf(bench.target.pids);
      const meter = startMeter(bench);
      const plan = planOf(bench, { channels: 1, publishers: 0, subscribersPerChannel: connections });
      const opened = await bench.load.open({ ...plan, sources: sourcesFor(connections, bench.target.urls) });
      requireConnections(opened);
      const openedAtMs = performance.now();
      await sleep(LATER_MS);
      const { cpu, series } = meter.stop();
      const figures = [perSecond(opened.connections / opened.seconds)];
      if (hasServerCpu(bench)) {
        figures.unshift(
          perCoreSecond(opened.connections / cpu.serverSeconds),
          figure("emptyRssBytes", "RSS without connections", "bytes", "lower", empty),
        );
        for (const [at, ms] of readMs.entries()) {
          await sleep(Math.max(0, openedAtMs + ms - performance.now()));
          const each = (rssOf(bench.target.pids) - empty) / opened.connections;
          const seconds = Math.round(ms / 1000);
          figures.push(
            figure(
              at === 0 ? "rssBytesSoon" : "rssBytesLater",
              `RSS per connection ${seconds} s later`,
              "bytes",
              "lower",
              each,
            ),
          );
        }
      }
      await bench.load.close();
      const limited = limitOf(cpu, bench);
      const problems = [...problemsOfOpening(opened), ...limitProblems(limited, cpu)];
      return { figures, series, cpu, limited, problems };
    },
  };
}

type Open = () => Promise<OpenedReport>;

/**
 * What the connections that `open` adds take, each, once every server has collected its garbage: V8 keeps up to
 * 40 MB of it for as long as it likes, which would be 3 kB a connection or none.
 */
async function measureMemory(
  bench: CaseBench,
  open: Open,
  restMs: number,
): Promise<{ readonly series: readonly Series[]; readonly rssBytes: number }> {
  // Of servers that run elsewhere none listens for the signal, and it would end them.
  const collecting = bench.attached === undefined ? bench.target.pids : [];
  const needed = async (): Promise<number> => {
    await sleep(restMs);
    // Once more for what the first one made free, such as ArrayBuffers by their finalizers.
    for (let round = 0; round < 2; round++) {
      for (const pid of collecting) process.kill(pid, "SIGUSR2");
      await sleep(Math.min(COLLECTED_MS, restMs));
    }
    return rssOf(bench.target.pids);
  };
  const before = await needed();
  const meter = startMeter(bench);
  const { connections } = await open();
  const after = await needed();
  return { series: meter.stop().series, rssBytes: (after - before) / connections };
}

/** Resets the connections and opens them again, time after time. */
async function measureRate(
  bench: CaseBench,
  open: Open,
): Promise<{ readonly cpu: CpuUse; readonly connected: number; readonly seconds: number }> {
  const rounds: { readonly cpu: CpuUse; readonly opened: OpenedReport }[] = [];
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    await bench.load.close();
    await sleep(LATER_MS);
    const meter = startMeter(bench);
    const opened = await open();
    await sleep(LATER_MS);
    rounds.push({ cpu: meter.stop().cpu, opened });
  }
  const measured = rounds.slice(WARM_UP_ROUNDS);
  const sum = (of: (opened: OpenedReport) => number): number =>
    measured.reduce((total, { opened }) => total + of(opened), 0);
  return {
    cpu: measured.map(({ cpu }) => cpu).reduce(sumOf),
    connected: sum(({ connections }) => connections),
    seconds: sum(({ seconds }) => seconds),
  };
}

function sumOf(a: CpuUse, b: CpuUse): CpuUse {
  const sum = (name: "wallSeconds" | "clientSeconds" | "serverSeconds"): number => a[name] + b[name];
  return {
    wallSeconds: sum("wallSeconds"),
    clientSeconds: sum("clientSeconds"),
    serverSeconds: sum("serverSeconds"),
    ...(a.redisSeconds !== undefined && { redisSeconds: a.redisSeconds + (b.redisSeconds ?? 0) }),
    othersCores: Math.max(a.othersCores ?? 0, b.othersCores ?? 0),
    busiestClient: Math.max(a.busiestClient, b.busiestClient),
    busiestServer: Math.max(a.busiestServer, b.busiestServer),
  };
}
