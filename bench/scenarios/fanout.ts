import { percentileUs } from "../load/histogram.js";
import type { Traffic } from "../load/messages.js";
import { measureTraffic } from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import type { Figure, LatencySummary, ScenarioName } from "../types.js";
import {
  OVERHEAD_SECONDS,
  countText,
  figure,
  hasServerCpu,
  planOf,
  trafficFigures,
  type Case,
  type Shape,
} from "./case.js";

/**
 * On their way at a time, in one stream. 32 is what uWebSockets.js publishes to one subscriber in a turn of its loop
 * before it falls to a write per message: more would only show that the ceiling has a cliff.
 */
const IN_FLIGHT_ONE_CHANNEL = 32;
const IN_FLIGHT_MANY_CHANNELS = 4;
const IN_FLIGHT_INGEST = 1024;
const PUBLISHERS_MANY_CHANNELS = 20;
/**
 * Messages/s. The fastest servers wait for the generator, and what they spend then depends on how it wakes them up:
 * the same load for all tells what a delivery costs, and what becomes of a server that cannot hold it.
 */
const EQUAL_RATE_ONE_CHANNEL = 3_000;
const EQUAL_RATE_MANY_CHANNELS = 30_000;
const QUICK_RATE = 500;

export function fanoutCases(options: BenchOptions): Case[] {
  if (isShaped(options)) {
    return [
      fanoutCase(shapeOf(options, { channels: 1, subscribersPerChannel: 1000, publishers: 1 }), options),
    ];
  }
  const one: Shape = { channels: 1, subscribersPerChannel: options.quick ? 50 : 1000, publishers: 1 };
  const many: Shape = options.quick
    ? { channels: 20, subscribersPerChannel: 5, publishers: 4 }
    : { channels: 1000, subscribersPerChannel: 10, publishers: PUBLISHERS_MANY_CHANNELS };
  const asFastAsPossible = [fanoutCase(one, options), fanoutCase(many, options)];
  if (options.rate !== undefined || options.acknowledged) return asFastAsPossible;
  const atRate = (shape: Shape, rate: number): Case =>
    fanoutCase(shape, { ...options, rate: options.quick ? QUICK_RATE : rate });
  return [...asFastAsPossible, atRate(one, EQUAL_RATE_ONE_CHANNEL), atRate(many, EQUAL_RATE_MANY_CHANNELS)];
}

function fanoutCase(shape: Shape, options: BenchOptions): Case {
  const inFlight = shape.channels === 1 ? IN_FLIGHT_ONE_CHANNEL : IN_FLIGHT_MANY_CHANNELS;
  return trafficCase("fanout", shape, options, inFlight);
}

/** The commands themselves: one publisher, one subscriber. */
export function ingestCases(options: BenchOptions): Case[] {
  const shape = shapeOf(options, { channels: 1, subscribersPerChannel: 1, publishers: 1 });
  return [trafficCase("ingest", shape, options, IN_FLIGHT_INGEST)];
}

export function isShaped({ channels, subscribers, publishers }: BenchOptions): boolean {
  return channels !== undefined || subscribers !== undefined || publishers !== undefined;
}

export function shapeOf(options: BenchOptions, otherwise: Shape): Shape {
  const channels = options.channels ?? otherwise.channels;
  return {
    ...otherwise,
    channels,
    subscribersPerChannel: options.subscribers ?? otherwise.subscribersPerChannel,
    publishers:
      options.publishers ??
      (channels > 1 ? Math.min(channels, PUBLISHERS_MANY_CHANNELS) : otherwise.publishers),
  };
}

export function trafficOf(options: BenchOptions, inFlight: number): Traffic {
  if (options.rate !== undefined) return { kind: "rate", messagesPerSecond: options.rate };
  if (options.acknowledged)
    return { kind: "acknowledged", commands: options.inFlight ?? 1, command: "publish" };
  return { kind: "window", messages: options.inFlight ?? inFlight };
}

/** Where messages are sent when they are due, or one at a time, their latency means something. */
export function latencyFigures(latency: LatencySummary | undefined): Figure[] {
  if (latency === undefined) return [];
  return ([50, 99, 99.9] as const).map((p) =>
    figure(`p${p}`.replace(".", "_"), `latency p${p}`, "us", "lower", percentileUs(latency, p)),
  );
}

function trafficCase(scenario: ScenarioName, shape: Shape, options: BenchOptions, inFlight: number): Case {
  const traffic = trafficOf(options, inFlight);
  const how = {
    rate: `, ${countText(options.rate ?? 0)}/s`,
    acknowledged: ", acknowledged",
    window: options.inFlight === undefined ? "" : `, ${options.inFlight} in flight`,
  }[traffic.kind];
  return {
    scenario,
    variant: `${countText(shape.channels)} x ${countText(shape.subscribersPerChannel)}${how}`,
    nodes: options.nodes ?? 1,
    features: {},
    redis: "on demand",
    needs: [],
    seconds: options.warmUpSeconds + options.seconds + OVERHEAD_SECONDS,
    async run(bench) {
      const result = await measureTraffic(bench, planOf(bench, shape), traffic, options);
      const timed = traffic.kind !== "window";
      return {
        figures: [
          ...trafficFigures(result, hasServerCpu(bench)),
          ...(timed ? latencyFigures(result.latency) : []),
        ],
        ...(timed && result.latency !== undefined && { latency: result.latency }),
        series: result.series,
        cpu: result.cpu,
        limited: result.limited,
        problems: result.problems,
      };
    },
  };
}
