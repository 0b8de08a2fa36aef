import { measureTraffic, type TrafficResult } from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import { highestSustained, type SearchOptions } from "../runner/search.js";
import { percentileUs } from "../load/histogram.js";
import {
  OVERHEAD_SECONDS,
  countText,
  figure,
  hasServerCpu,
  planOf,
  trafficFigures,
  type Case,
  type CaseBench,
  type Measured,
} from "./case.js";
import { latencyFigures, shapeOf } from "./fanout.js";

const CHANNELS = 100;
const PUBLISHERS = 20;
const MODEST_RATE = 20_000;
const SEARCH = {
  startRate: 5000,
  step: 2,
  minRate: 250,
  maxRate: 5_000_000,
  probeSeconds: 2,
  precision: 1.08,
};
/** From one run to the next a peer's rate changes by less. */
const NEXT_RUN_STEP = 1.25;
const QUICK_SEARCH = {
  startRate: 500,
  step: 2,
  minRate: 250,
  maxRate: 2000,
  probeSeconds: 0.5,
  precision: 1.5,
};
/** A probe sends this much of what was due, or the rate was not there. */
const SENT_SHARE_MIN = 0.98;
/** Of probes of half a second that is a stall of 10 ms: where figures mean nothing, half will do. */
const QUICK_SENT_SHARE_MIN = 0.5;
const PROBE_WARM_UP_SECONDS_MAX = 1;
const PROBES_EXPECTED = 15;
const CONFIRMATIONS_EXPECTED = 2;

/** Publishers on the first node, subscribers on the others: every delivery crosses Redis. */
export function bridgeCases(options: BenchOptions): Case[] {
  const nodeCounts = options.nodes === undefined ? (options.quick ? [2] : [2, 3]) : [options.nodes];
  const fanOuts = options.subscribers === undefined ? [10, 1] : [options.subscribers];
  return nodeCounts.flatMap((nodes) =>
    // Of three nodes the common case only: a search takes minutes.
    (nodes === 3 && options.nodes === undefined ? fanOuts.slice(0, 1) : fanOuts).flatMap((fanOut) => [
      latencyCase(options, nodes, fanOut),
      sustainedCase(options, nodes, fanOut),
    ]),
  );
}

function base(
  options: BenchOptions,
  nodes: number,
): Pick<Case, "scenario" | "nodes" | "features" | "redis" | "needs"> {
  return {
    scenario: "bridge",
    nodes: options.attach?.urls.length ?? nodes,
    features: {},
    redis: "needed",
    needs: [],
  };
}

const shape = (options: BenchOptions, fanOut: number) =>
  ({
    ...shapeOf(options, {
      channels: options.quick ? 10 : CHANNELS,
      subscribersPerChannel: fanOut,
      publishers: options.quick ? 2 : PUBLISHERS,
    }),
    across: true,
  }) as const;

function latencyCase(options: BenchOptions, nodes: number, fanOut: number): Case {
  const rate = options.rate ?? (options.quick ? 500 : MODEST_RATE);
  return {
    ...base(options, nodes),
    variant: `${nodes} nodes, fan-out ${fanOut}, ${countText(rate)}/s`,
    seconds: options.warmUpSeconds + options.seconds + OVERHEAD_SECONDS,
    async run(bench) {
      const result = await measureTraffic(
        bench,
        planOf(bench, shape(options, fanOut)),
        { kind: "rate", messagesPerSecond: rate },
        options,
      );
      return measured(bench, result, latencyFigures(result.latency));
    },
  };
}

function sustainedCase(options: BenchOptions, nodes: number, fanOut: number): Case {
  // The nodes stay over the probes that hold, and are warm.
  const warmUpSeconds = Math.min(options.warmUpSeconds, PROBE_WARM_UP_SECONDS_MAX);
  const search = { ...(options.quick ? QUICK_SEARCH : SEARCH), confirmSeconds: options.sustainSeconds };
  /** By peer: what the run before found. */
  const found = new Map<string, number>();
  return {
    ...base(options, nodes),
    variant: `${nodes} nodes, fan-out ${fanOut}, sustained`,
    seconds:
      PROBES_EXPECTED * (search.probeSeconds + warmUpSeconds + 0.5) +
      CONFIRMATIONS_EXPECTED * (search.confirmSeconds + warmUpSeconds) +
      OVERHEAD_SECONDS,
    async run(bench) {
      const searchFrom = (known: number | undefined): SearchOptions =>
        known === undefined ? search : { ...search, startRate: known, step: NEXT_RUN_STEP };
      let last: TrafficResult | undefined;
      let why = "";
      const rate = await highestSustained(
        async (messagesPerSecond, seconds) => {
          const text = `${countText(messagesPerSecond)} messages/s for ${seconds} s`;
          bench.progress(text);
          const quiet = { ...bench, progress: (more: string) => bench.progress(`${text}: ${more}`) };
          const result = await measureTraffic(
            quiet,
            planOf(bench, shape(options, fanOut)),
            { kind: "rate", messagesPerSecond },
            { warmUpSeconds, seconds },
          );
          const failure = failureOf(
            result,
            messagesPerSecond,
            options.sustainP99Ms,
            options.quick ? QUICK_SENT_SHARE_MIN : SENT_SHARE_MIN,
          );
          if (failure === undefined) {
            last = result;
            return true;
          }
          why = `${text}: ${failure}${result.limited === "client" ? " (the generator was the limit)" : ""}`;
          await bench.target.restart();
          return false;
        },
        searchFrom(found.get(bench.peer)),
      );
      if (rate === undefined || last === undefined) {
        throw new Error(`no rate held for ${search.confirmSeconds} s; ${why}`);
      }
      found.set(bench.peer, rate);
      const stopped = measured(bench, last, latencyFigures(last.latency));
      return {
        ...stopped,
        figures: [
          figure("sustainedMessagesPerSecond", "highest sustained, messages", "1/s", "higher", rate),
          figure(
            "sustainedDeliveriesPerSecond",
            "highest sustained, deliveries",
            "1/s",
            "higher",
            rate * fanOut,
          ),
          ...stopped.figures,
        ],
        problems: [
          ...stopped.problems,
          ...(why === "" ? [] : why.includes("generator") ? [`above it: ${why}`] : []),
        ],
      };
    },
  };
}

/** @returns why the rate did not hold */
export function failureOf(
  result: Pick<TrafficResult, "lost" | "late" | "duplicated" | "closed" | "latency"> & {
    readonly stopped: { readonly sent: number; readonly seconds: number };
    readonly opened: { readonly failed: number };
  },
  messagesPerSecond: number,
  p99Ms: number,
  sentShareMin = SENT_SHARE_MIN,
): string | undefined {
  const { lost, late, duplicated, closed, latency, stopped, opened } = result;
  if (opened.failed > 0) return `${opened.failed} connections failed`;
  if (closed > 0) return `${closed} connections closed`;
  if (lost > 0) return `${lost} deliveries lost`;
  if (late > 0) return `${late} deliveries were still to come at the end`;
  if (duplicated > 0) return `${duplicated} deliveries duplicated`;
  const sentShare = stopped.sent / stopped.seconds / messagesPerSecond;
  if (sentShare < sentShareMin) return `only ${Math.round(sentShare * 100)} % of what was due could be sent`;
  if (latency === undefined) return "nothing was delivered";
  const p99 = percentileUs(latency, 99) / 1000;
  if (p99 >= p99Ms) return `p99 was ${p99.toFixed(1)} ms`;
  return undefined;
}

function measured(bench: CaseBench, result: TrafficResult, latency: Measured["figures"]): Measured {
  return {
    figures: [...latency, ...trafficFigures(result, hasServerCpu(bench))],
    ...(result.latency !== undefined && { latency: result.latency }),
    series: result.series,
    cpu: result.cpu,
    limited: result.limited,
    problems: result.problems,
  };
}
