import { protocolByName } from "../protocols/index.js";
import {
  measureTraffic,
  sleep,
  startMeter,
  limitOf,
  limitProblems,
  problemsOfOpening,
  type TrafficResult,
} from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import type { Figure } from "../types.js";
import {
  OVERHEAD_SECONDS,
  countText,
  figure,
  hasServerCpu,
  planOf,
  type Case,
  type CaseBench,
  type Shape,
} from "./case.js";
import { latencyFigures } from "./fanout.js";
import { PRESENCE, WRITTEN_MS, joinsCases } from "./joins.js";

const CHANNELS = 50;
const MEMBERS = 100;
const ASKING = 10;

export function presenceCases(options: BenchOptions): Case[] {
  return [connectAndJoinCase(options), ...joinsCases(options)];
}

/** What it costs to connect and join channels that keep presence, against channels that do not; and to ask who is there. */
function connectAndJoinCase(options: BenchOptions): Case {
  const channels = options.channels ?? (options.quick ? 5 : CHANNELS);
  const subscribersPerChannel = options.subscribers ?? (options.quick ? 20 : MEMBERS);
  const shape = { channels, subscribersPerChannel, publishers: 0 };
  return {
    scenario: "presence",
    variant: `${countText(channels)} x ${countText(subscribersPerChannel)}`,
    nodes: options.nodes ?? 1,
    features: { presence: true },
    redis: "needed",
    needs: ["presence"],
    seconds: options.warmUpSeconds + options.seconds + 9 + OVERHEAD_SECONDS,
    async run(bench) {
      // The first joins of a fresh node run unoptimized code: not those that are compared.
      const first = await join(bench, shape);
      const without = await join(bench, shape);
      const joined = await join(bench, { ...shape, namespace: PRESENCE });
      const asked = await ask(bench, shape);
      const figures = [
        figure("joinsPerSecond", "joins with presence", "1/s", "higher", joined.perSecond),
        ...(asked === undefined ? [] : questionFigures(asked)),
      ];
      if (hasServerCpu(bench)) figures.unshift(...costFigures(joined, without));
      return {
        figures,
        ...(asked?.latency !== undefined && { latency: asked.latency }),
        series: joined.series,
        cpu: joined.cpu,
        limited: joined.limited,
        problems: [
          ...new Set([
            ...first.problems,
            ...without.problems,
            ...joined.problems,
            ...(asked?.problems ?? []),
          ]),
        ],
      };
    },
  };
}

async function join(bench: CaseBench, shape: Shape) {
  bench.progress("joining");
  const meter = startMeter(bench);
  const opened = await bench.load.open(planOf(bench, shape));
  await sleep(WRITTEN_MS);
  const { cpu, series } = meter.stop();
  await bench.load.close();
  const limited = limitOf(cpu, bench);
  return {
    cpu,
    series,
    limited,
    perSecond: opened.connections / opened.seconds,
    usEach: (cpu.serverSeconds * 1e6) / opened.connections,
    problems: [...problemsOfOpening(opened), ...limitProblems(limited, cpu)],
  };
}

/** @returns undefined where the protocol has no such question */
async function ask(bench: CaseBench, shape: Shape): Promise<TrafficResult | undefined> {
  const { protocol, options } = bench;
  if (protocolByName(protocol).presence === undefined) return undefined;
  bench.progress("asking who is there");
  const plan = planOf(bench, { ...shape, publishers: ASKING, namespace: PRESENCE });
  return measureTraffic(
    bench,
    { ...plan, publishers: Math.max(ASKING, shape.channels) },
    { kind: "acknowledged", commands: 1, command: "presence" },
    options,
  );
}

function questionFigures({ stopped, latency }: TrafficResult): Figure[] {
  return [
    figure("queriesPerSecond", "presence queries", "1/s", "higher", stopped.replies / stopped.seconds),
    ...latencyFigures(latency),
  ];
}

function costFigures(joined: { usEach: number }, without: { usEach: number }): Figure[] {
  return [
    figure("joinUs", "server CPU to connect and join, with presence", "us", "lower", joined.usEach),
    figure("joinUsWithout", "server CPU to connect and join, without", "us", "lower", without.usEach),
  ];
}
