/** A case: one thing measured, in the same way for every peer. */

import type { LoadPlan } from "../load/messages.js";
import type { Bench, TrafficResult } from "../runner/measure.js";
import type { AttachOptions, BenchOptions } from "../runner/options.js";
import type { Figure, PeerAbility, PeerFeatures, ProtocolName, ScenarioName, ScenarioRun } from "../types.js";

export type Measured = Pick<ScenarioRun, "figures" | "latency" | "series" | "cpu" | "limited" | "problems">;

export interface CaseBench extends Bench {
  readonly peer: string;
  /** Where the target is not the bench's own. */
  readonly attached: AttachOptions | undefined;
  readonly protocol: ProtocolName;
  readonly options: BenchOptions;
}

/** @param asked  what the command line says, if anything */
export function usesRedis({ redis }: Pick<Case, "redis">, asked: boolean | undefined): boolean {
  return asked ?? redis !== "on demand";
}

export interface Case {
  readonly scenario: ScenarioName;
  readonly variant: string;
  readonly nodes: number;
  readonly features: PeerFeatures;
  /**
   * needed: it means nothing without. usual: connections have state that is shared. on demand: what is
   * measured is one node, which a user runs in memory.
   */
  readonly redis: "needed" | "usual" | "on demand";
  /** What a peer must have. */
  readonly needs: readonly PeerAbility[];
  /** One peer, once: for the plan that is printed first. */
  readonly seconds: number;
  run(bench: CaseBench): Promise<Measured>;
}

/** Starting and stopping the servers, connecting, settling. */
export const OVERHEAD_SECONDS = 5;

/** Frames of a connection's worth are on the way at most; above a process's file limit no one gets. */
export const CONNECTING_MAX = 256;

/**
 * Addresses of this machine to connect from. Of 28,000 ports that the kernel has for one address it finds the first
 * 14,000 at once; with an address given it looks through a quarter of them before it becomes slow.
 */
export function sourcesFor(connections: number, urls: readonly string[]): number {
  // Elsewhere there is no way back to a 127.0.0.x.
  const near = urls.every((url) => new URL(url).hostname.startsWith("127."));
  return near && connections > PORTS_FOUND_AT_ONCE ? Math.ceil(connections / PORTS_OF_SOURCE) : 1;
}
const PORTS_FOUND_AT_ONCE = 13_000;
const PORTS_OF_SOURCE = 4000;

export function figure(
  name: string,
  label: string,
  unit: string,
  better: Figure["better"],
  value: number,
): Figure {
  return { name, label, unit, better, value };
}

/** Of three digits; where it begins differs, as two benches may load one server. */
let prefix = Math.floor(Math.random() * 20_000);

/** A prefix that no earlier plan had: what an overloaded server still delivers is not taken for the next load's. */
export function freshPrefix(namespace = ""): string {
  prefix++;
  return `${namespace}${prefix.toString(36).padStart(3, "0")}-`;
}

export interface Shape {
  readonly channels: number;
  readonly subscribersPerChannel: number;
  readonly publishers: number;
  readonly namespace?: string;
  /** Publishers on the first node, subscribers on the others. */
  readonly across?: boolean;
}

export function planOf({ target, protocol, options, attached }: CaseBench, shape: Shape): LoadPlan {
  const { urls } = target;
  const across = shape.across === true && urls.length > 1;
  // Of the bench's own servers other channels are public, as those are that other protocols subscribe to.
  const isSigned = shape.publishers > 0 || shape.namespace !== undefined || attached !== undefined;
  return {
    protocol,
    publisherUrls: across ? urls.slice(0, 1) : urls,
    subscriberUrls: across ? urls.slice(1) : urls,
    channelPrefix: freshPrefix(shape.namespace),
    channels: shape.channels,
    subscribersPerChannel: shape.subscribersPerChannel,
    publishers: shape.publishers,
    connectRate: options.connectRate,
    connecting: CONNECTING_MAX,
    payloadBytes: options.payloadBytes,
    acknowledged: options.acknowledged,
    ...(attached?.token !== undefined && { token: attached.token }),
    ...(isSigned && target.secret !== undefined && { secret: target.secret }),
    sources: 1,
    headers: {},
  };
}

/** The figures that every stretch of traffic has. */
export function trafficFigures({ stopped, cpu }: TrafficResult, hasServerCpu: boolean): Figure[] {
  const figures = [
    figure("deliveriesPerSecond", "deliveries", "1/s", "higher", stopped.deliveries / stopped.seconds),
    figure("messagesPerSecond", "messages published", "1/s", "higher", stopped.sent / stopped.seconds),
  ];
  if (!hasServerCpu) return figures;
  const perCore = (count: number): number => count / cpu.serverSeconds;
  figures.unshift(
    figure(
      "deliveriesPerServerCoreSecond",
      "deliveries per server core second",
      "1/s",
      "higher",
      perCore(stopped.deliveries),
    ),
  );
  figures.push(
    figure("serverCores", "server CPU", "cores", "neither", cpu.serverSeconds / cpu.wallSeconds),
    figure("clientCores", "generator CPU", "cores", "neither", cpu.clientSeconds / cpu.wallSeconds),
  );
  if (cpu.redisSeconds !== undefined && stopped.sent > 0) {
    figures.push(
      figure(
        "redisUsPerMessage",
        "Redis CPU per message",
        "us",
        "lower",
        (cpu.redisSeconds * 1e6) / stopped.sent,
      ),
    );
  }
  return figures;
}

export const hasServerCpu = ({ target }: Bench): boolean => target.pids.length > 0;

export const countText = (value: number): string => value.toLocaleString("en-US");
