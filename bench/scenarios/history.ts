import { measureTraffic, type TrafficResult } from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import type { Figure } from "../types.js";
import { OVERHEAD_SECONDS, figure, planOf, type Case, type CaseBench } from "./case.js";
import { shapeOf } from "./fanout.js";

const CHANNELS = 100;
const PUBLISHERS = 20;
/** On their way in one channel: enough to keep two nodes and Redis busy, and the same with and without. */
const IN_FLIGHT = 16;

/** What keeping history costs: the same load with it and without, on the same nodes, one right after the other. */
export function historyCases(options: BenchOptions): Case[] {
  const fanOuts = options.subscribers === undefined ? [10, 1] : [options.subscribers];
  return fanOuts.map((fanOut) => historyCase(options, fanOut));
}

function historyCase(options: BenchOptions, fanOut: number): Case {
  const nodes = options.nodes ?? options.attach?.urls.length ?? 2;
  const shape = shapeOf(options, {
    channels: options.quick ? 10 : CHANNELS,
    subscribersPerChannel: fanOut,
    publishers: options.quick ? 2 : PUBLISHERS,
  });
  return {
    scenario: "history",
    variant: `${nodes} nodes, fan-out ${fanOut}`,
    nodes,
    features: { history: true },
    redis: "needed",
    needs: ["history"],
    seconds: 2 * (options.warmUpSeconds + options.seconds) + OVERHEAD_SECONDS,
    async run(bench) {
      const measure = async (namespace: string): Promise<TrafficResult> =>
        measureTraffic(
          bench,
          planOf(bench, { ...shape, namespace, across: true }),
          { kind: "window", messages: options.inFlight ?? IN_FLIGHT },
          options,
        );
      const without = await measure("");
      const kept = await measure("history:");
      return {
        figures: figuresOf(bench, kept, without),
        series: kept.series,
        cpu: kept.cpu,
        limited: kept.limited,
        problems: [
          ...kept.problems.map((problem) => `with history: ${problem}`),
          ...without.problems.map((problem) => `without: ${problem}`),
        ],
      };
    },
  };
}

function figuresOf({ target }: CaseBench, kept: TrafficResult, without: TrafficResult): Figure[] {
  const rate = ({ stopped }: TrafficResult): number => stopped.deliveries / stopped.seconds;
  const perCore = ({ stopped, cpu }: TrafficResult): number => stopped.deliveries / cpu.serverSeconds;
  const figures = [
    figure("throughputShare", "throughput with history / without", "x", "higher", rate(kept) / rate(without)),
    figure("deliveriesPerSecondKept", "deliveries with history", "1/s", "higher", rate(kept)),
    figure("deliveriesPerSecondWithout", "deliveries without", "1/s", "higher", rate(without)),
  ];
  if (target.pids.length > 0) {
    figures.push(
      figure(
        "perCoreShare",
        "deliveries per server core second with history / without",
        "x",
        "higher",
        perCore(kept) / perCore(without),
      ),
    );
  }
  const redisUs = ({ cpu, stopped }: TrafficResult): number => ((cpu.redisSeconds ?? 0) * 1e6) / stopped.sent;
  if (kept.cpu.redisSeconds !== undefined) {
    figures.push(
      figure("redisUsPerMessageKept", "Redis CPU per message with history", "us", "lower", redisUs(kept)),
      figure("redisUsPerMessageWithout", "Redis CPU per message without", "us", "lower", redisUs(without)),
    );
  }
  return figures;
}
