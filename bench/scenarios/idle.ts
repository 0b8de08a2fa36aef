import {
  limitOf,
  problemsOfOpening,
  requireConnections,
  rssOf,
  sleep,
  startMeter,
} from "../runner/measure.js";
import { pssBytesOf } from "../runner/processes.js";
import type { BenchOptions } from "../runner/options.js";
import { OVERHEAD_SECONDS, countText, figure, hasServerCpu, planOf, sourcesFor, type Case } from "./case.js";

const CONNECTIONS = 10_000;
const SETTLE_MS = 3000;
const EXPECTED_PER_SECOND = 2500;

/** Many connections that do nothing but answer pings. */
export function idleCases(options: BenchOptions): Case[] {
  const connections = options.connections ?? (options.quick ? 200 : CONNECTIONS);
  const minutes = options.quick ? 0.05 : options.holdMinutes;
  const nodes = options.nodes ?? 1;
  const workers = options.workers > 1 ? `, ${options.workers} workers` : "";
  return [
    {
      scenario: "idle",
      variant: `${countText(connections)} connections, ${minutes} min${workers}`,
      nodes,
      features: { workers: options.workers },
      redis: options.workers > 1 ? "needed" : "usual",
      needs: options.workers > 1 ? ["workers"] : [],
      seconds: connections / EXPECTED_PER_SECOND + minutes * 60 + OVERHEAD_SECONDS,
      async run(bench) {
        bench.progress("connecting");
        const rssBefore = rssOf(bench.target.pids);
        const plan = planOf(bench, { channels: 1, subscribersPerChannel: connections, publishers: 0 });
        const opened = await bench.load.open({
          ...plan,
          sources: sourcesFor(connections, bench.target.urls),
        });
        try {
          requireConnections(opened);
          await sleep(SETTLE_MS);
          bench.load.mark();
          const meter = startMeter(bench);
          await sleep(minutes * 60_000);
          const { cpu, series } = meter.stop();
          const settled = await bench.load.settle([], 0, 0);
          const closed = settled.reduce((sum, each) => sum + each.closed, 0);
          const figures = [
            figure("held", "held", "connections", "higher", opened.connections - closed),
            figure("lostConnections", "lost", "connections", "lower", closed),
          ];
          if (hasServerCpu(bench)) {
            const pids = bench.target.pids;
            const pss = pids.reduce((sum, pid) => sum + (pssBytesOf(pid) ?? 0), 0);
            const each = (bytes: number): number => bytes / Math.max(1, opened.connections);
            figures.push(
              figure(
                "idleCpuPercent",
                "server CPU, all processes, of one core",
                "%",
                "lower",
                (cpu.serverSeconds / cpu.wallSeconds) * 100,
              ),
              figure(
                "rssBytesPerConnection",
                "RSS per connection, less that at the start",
                "bytes",
                "lower",
                each(rssOf(pids) - rssBefore),
              ),
              figure("pssBytesPerConnection", "all memory (PSS) per connection", "bytes", "lower", each(pss)),
            );
          }
          return {
            figures,
            series,
            cpu,
            limited: limitOf(cpu, bench),
            problems: [
              ...problemsOfOpening(opened),
              ...(closed === 0 ? [] : [`${closed} connections closed while idle`]),
              ...new Set(settled.flatMap(({ errors }) => errors)),
            ],
          };
        } finally {
          await bench.load.close();
        }
      },
    },
  ];
}
