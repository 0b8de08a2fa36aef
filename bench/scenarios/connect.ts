import type { LoadPlan, OpenedReport } from "../load/messages.js";
import { LoadFleet } from "../runner/load-fleet.js";
import { bind } from "../runner/processes.js";
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
import type { CpuUse } from "../types.js";
import { OVERHEAD_SECONDS, countText, figure, hasServerCpu, planOf, sourcesFor, type Case } from "./case.js";

const CONNECTIONS = 13_000;
/** Connections that are there before memory is first read: what a server needs once is not counted per connection. */
const FIRST_SHARE = 0.25;
/** After so long without work V8 has given back what it needed for the connecting itself. */
const REST_MS = 40_000;
/** Opened so often before it is measured: code that ran once is not yet compiled, on any server. */
const WARM_UP_ROUNDS = 2;
const ROUNDS = 3;
/** What a server does about its connections a little later is counted too, and done before the next round. */
const LATER_MS = 500;
const EXPECTED_PER_SECOND = 3000;

/** Connections that subscribe to one channel and then are idle. */
export function connectCases(options: BenchOptions): Case[] {
  const connections = options.connections ?? (options.quick ? 200 : CONNECTIONS);
  const restMs = options.quick ? 500 : REST_MS;
  return [
    {
      scenario: "connect",
      variant: `${countText(connections)} connections`,
      nodes: options.nodes ?? 1,
      features: {},
      redis: "usual",
      needs: [],
      seconds:
        ((1 + WARM_UP_ROUNDS + ROUNDS) * connections) / EXPECTED_PER_SECOND +
        (2 * restMs) / 1000 +
        OVERHEAD_SECONDS,
      async run(bench) {
        const first = Math.round(connections * FIRST_SHARE);
        const rest = connections - first;
        const shape = { channels: 1, publishers: 0 };
        const sources = sourcesFor(connections, options);
        const plan = (subscribersPerChannel: number): LoadPlan => ({
          ...planOf(bench, { ...shape, subscribersPerChannel }),
          sources,
        });
        const others = await LoadFleet.start(1);
        if (bench.placement !== undefined) {
          for (const pid of others.pids) bind(pid, bench.placement.loadCores);
        }
        try {
          const problems: string[] = [];
          const open = async (load: LoadFleet, count: number): Promise<OpenedReport> => {
            const opened = await load.open(plan(count));
            requireConnections(opened);
            problems.push(...problemsOfOpening(opened));
            return opened;
          };
          await open(others, first);
          await sleep(restMs);
          const rssBefore = rssOf(bench.target.pids);
          const memoryMeter = startMeter(bench);
          const { connections: held } = await open(bench.load, rest);
          await sleep(restMs);
          const rss = rssOf(bench.target.pids) - rssBefore;
          const { series } = memoryMeter.stop();
          let connected = 0;
          let connectSeconds = 0;
          let serverSeconds = 0;
          const uses: CpuUse[] = [];
          for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
            await bench.load.close();
            await sleep(LATER_MS);
            const meter = startMeter(bench);
            const opened = await open(bench.load, rest);
            await sleep(LATER_MS);
            const { cpu } = meter.stop();
            if (round < 0) continue;
            uses.push(cpu);
            connected += opened.connections;
            connectSeconds += opened.seconds;
            serverSeconds += cpu.serverSeconds;
          }
          const cpu = uses.reduce(sumOf);
          const limited = limitOf(cpu, bench);
          const figures = [
            figure("connectionsPerSecond", "accept + subscribe", "1/s", "higher", connected / connectSeconds),
          ];
          if (hasServerCpu(bench)) {
            figures.unshift(
              figure("rssBytesPerConnection", "RSS per idle connection", "bytes", "lower", rss / held),
              figure(
                "connectionsPerServerCoreSecond",
                "accept + subscribe per server core second",
                "1/s",
                "higher",
                connected / serverSeconds,
              ),
            );
          }
          return {
            figures,
            series,
            cpu,
            limited,
            problems: [...new Set([...problems, ...limitProblems(limited, cpu)])],
          };
        } finally {
          await bench.load.close();
          await others.end();
        }
      },
    },
  ];
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
