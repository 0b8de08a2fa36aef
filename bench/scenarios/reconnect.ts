import {
  limitOf,
  limitProblems,
  problemsOfOpening,
  requireConnections,
  startMeter,
} from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import { OVERHEAD_SECONDS, countText, figure, hasServerCpu, planOf, type Case } from "./case.js";

const CONNECTIONS = 10_000;
const SUBSCRIBERS = 10;
const DEADLINE_MS = 60_000;
const EXPECTED_PER_SECOND = 3000;

/** All connections are cut at once, and all come back at once. */
export function reconnectCases(options: BenchOptions): Case[] {
  const connections = options.connections ?? (options.quick ? 200 : CONNECTIONS);
  const subscribersPerChannel = options.subscribers ?? SUBSCRIBERS;
  const channels = Math.max(1, Math.round(connections / subscribersPerChannel));
  return [
    {
      scenario: "reconnect",
      variant: `${countText(connections)} connections`,
      nodes: options.nodes ?? 1,
      features: {},
      redis: "usual",
      needs: [],
      seconds: (3 * connections) / EXPECTED_PER_SECOND + OVERHEAD_SECONDS,
      async run(bench) {
        bench.progress("connecting");
        const opened = await bench.load.open(
          planOf(bench, { channels, subscribersPerChannel, publishers: 0 }),
        );
        try {
          requireConnections(opened);
          bench.progress("cutting and reconnecting");
          const meter = startMeter(bench);
          const stormed = await bench.load.storm(DEADLINE_MS);
          const { cpu, series } = meter.stop();
          const limited = limitOf(cpu, bench);
          const wanted = stormed.connections + stormed.failed;
          const atShare = (share: number): number | undefined =>
            stormed.liveAtMs[Math.ceil(wanted * share) - 1];
          const figures = [];
          const at99 = atShare(0.99);
          if (at99 !== undefined) {
            figures.push(figure("secondsTo99", "until 99 % are back", "s", "lower", at99 / 1000));
          }
          if (hasServerCpu(bench)) {
            figures.push(
              figure(
                "serverUsPerReconnect",
                "server CPU per connection lost and taken back",
                "us",
                "lower",
                (cpu.serverSeconds * 1e6) / Math.max(1, stormed.connections),
              ),
            );
          }
          figures.push(figure("back", "connections back", "connections", "neither", stormed.connections));
          return {
            figures,
            series,
            cpu,
            limited,
            problems: [
              ...problemsOfOpening(opened),
              ...(stormed.failed === 0
                ? []
                : [`${stormed.failed} of ${wanted} were not back within ${DEADLINE_MS / 1000} s`]),
              ...limitProblems(limited, cpu),
            ],
          };
        } finally {
          await bench.load.close();
        }
      },
    },
  ];
}
