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
import { OVERHEAD_SECONDS, countText, figure, hasServerCpu, planOf, type Case } from "./case.js";

const CONNECTIONS = 10_000;
/** Connections that are there before memory is first read: what a server needs once is not counted per connection. */
const FIRST_SHARE = 0.25;
/** After so long without work V8 has given back what it needed for the connecting itself. */
const REST_MS = 12_000;
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
      seconds: connections / EXPECTED_PER_SECOND + (2 * restMs) / 1000 + OVERHEAD_SECONDS,
      async run(bench) {
        const first = Math.round(connections * FIRST_SHARE);
        const rest = connections - first;
        const shape = { channels: 1, publishers: 0 };
        const others = await LoadFleet.start(1);
        if (bench.placement !== undefined) {
          for (const pid of others.pids) bind(pid, bench.placement.loadCores);
        }
        try {
          const warm = await others.open(planOf(bench, { ...shape, subscribersPerChannel: first }));
          await sleep(restMs);
          const rssBefore = rssOf(bench.target.pids);
          const meter = startMeter(bench);
          const opened = await bench.load.open(planOf(bench, { ...shape, subscribersPerChannel: rest }));
          const { cpu, series } = meter.stop();
          requireConnections(opened);
          const idleMeter = startMeter(bench);
          await sleep(restMs);
          const idle = idleMeter.stop();
          const rss = rssOf(bench.target.pids) - rssBefore;
          const limited = limitOf(cpu, bench);
          const figures = [
            figure(
              "connectionsPerSecond",
              "accept + subscribe",
              "1/s",
              "higher",
              opened.connections / opened.seconds,
            ),
          ];
          if (hasServerCpu(bench)) {
            figures.unshift(
              figure(
                "rssBytesPerConnection",
                "RSS per idle connection",
                "bytes",
                "lower",
                rss / opened.connections,
              ),
              figure(
                "connectionsPerServerCoreSecond",
                "accept + subscribe per server core second",
                "1/s",
                "higher",
                opened.connections / cpu.serverSeconds,
              ),
            );
          }
          return {
            figures,
            series: [...series, ...idle.series.filter(({ name }) => name === "serverRssBytes")].filter(
              ({ name }, index, all) => all.findIndex((other) => other.name === name) === index,
            ),
            cpu,
            limited,
            problems: [
              ...problemsOfOpening(warm),
              ...problemsOfOpening(opened),
              ...limitProblems(limited, cpu),
            ],
          };
        } finally {
          await bench.load.close();
          await others.end();
        }
      },
    },
  ];
}
