import {
  limitOf,
  limitProblems,
  problemsOfOpening,
  requireConnections,
  sleep,
  startMeter,
} from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import { OVERHEAD_SECONDS, countText, figure, hasServerCpu, planOf, type Case } from "./case.js";

/** The namespace whose channels keep presence. */
export const PRESENCE = "presence:";
/** Entries are written behind the subscription's answer. */
export const WRITTEN_MS = 1000;

/** Groups of connections by their size, which is how many members their channels get. */
const GROUPS = [
  { members: 10, groups: 200 },
  { members: 100, groups: 10 },
] as const;
const QUICK_GROUPS = { members: 4, groups: 3 } as const;
/** Channels that each connection joins: before it is measured, as code that ran once is not yet compiled, and then. */
const WARM_UP_CHANNELS = 5;
const CHANNELS = 10;
const EXPECTED_PER_SECOND = 5000;

/** Joins alone: connections that are there join channel after channel, in each of which they meet the same others. */
export function joinsCases({ channels, subscribers, ...options }: BenchOptions): Case[] {
  const [usual] = GROUPS;
  const otherwise = options.quick ? QUICK_GROUPS : usual;
  if (options.quick || channels !== undefined || subscribers !== undefined) {
    return [joinsCase(options, subscribers ?? otherwise.members, channels ?? otherwise.groups)];
  }
  return GROUPS.map(({ members, groups }) => joinsCase(options, members, groups));
}

function joinsCase({ nodes = 1 }: Pick<BenchOptions, "nodes">, members: number, groups: number): Case {
  return {
    scenario: "presence",
    variant: `joins, ${countText(groups * CHANNELS)} x ${countText(members)}`,
    nodes,
    features: { presence: true },
    redis: "usual",
    needs: ["presence"],
    seconds: (members * groups * (WARM_UP_CHANNELS + CHANNELS)) / EXPECTED_PER_SECOND + OVERHEAD_SECONDS,
    async run(bench) {
      const shape = { channels: groups, subscribersPerChannel: members, publishers: 0, namespace: PRESENCE };
      const opened = await bench.load.open({ ...planOf(bench, shape), joinsLater: true });
      try {
        requireConnections(opened);
        bench.progress("warming up");
        await bench.load.join({ first: 0, count: WARM_UP_CHANNELS });
        await sleep(WRITTEN_MS);
        bench.progress("joining");
        const meter = startMeter(bench);
        const { joined, refused, seconds, errors } = await bench.load.join({
          first: WARM_UP_CHANNELS,
          count: CHANNELS,
        });
        const { cpu, series } = meter.stop();
        const writing = startMeter(bench);
        await sleep(WRITTEN_MS);
        const serverSeconds = cpu.serverSeconds + writing.stop().cpu.serverSeconds;
        const limited = limitOf(cpu, bench);
        const figures = [figure("joinsPerSecond", "presence joins", "1/s", "higher", joined / seconds)];
        if (hasServerCpu(bench)) {
          figures.unshift(
            figure(
              "joinsPerServerCoreSecond",
              "presence joins per server core second",
              "1/s",
              "higher",
              joined / serverSeconds,
            ),
          );
        }
        return {
          figures,
          series,
          cpu,
          limited,
          problems: [
            ...problemsOfOpening(opened),
            ...(refused === 0
              ? []
              : [`${countText(refused)} joins refused or without an answer: ${errors.join("; ")}`]),
            ...limitProblems(limited, cpu),
          ],
        };
      } finally {
        await bench.load.close();
      }
    },
  };
}
