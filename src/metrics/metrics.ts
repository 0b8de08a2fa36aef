import { collectDefaultMetrics, Registry } from "prom-client";
import type { FramingStats, Stats } from "../core/stats.js";
import { collectApps, type CountedApp } from "./apps.js";
import {
  counter,
  gauge,
  histogram,
  info,
  labelledCounter,
  labelledGauge,
  labelledHistogram,
} from "./collectors.js";
import { collectEventLoopLag } from "./event-loop.js";
import { disconnectCounts, rejectCounts } from "./labels.js";

/** What is not counted in Stats but can be asked for. */
export interface Gauges {
  /** Channels with subscribers on this node. */
  channels(): number;
  ready(): boolean;
  /** Sockets on the clients' port that are no WebSocket, or not yet. */
  readonly idleSockets?: () => number;
  /** Connections that have yet to authenticate. */
  readonly unauthenticated?: () => number;
  /** Client addresses that are remembered. */
  readonly addresses?: () => number;
  /** Not given: no metric. */
  apps?(): Iterable<CountedApp>;
  /** Whether the link to the bus is up. Not given: no metric. */
  bridgeUp?(): boolean;
}

export interface MetricsOptions {
  readonly stats: Stats;
  readonly gauges: Gauges;
  /** Shown by starling_info alone: as a label on everything it would only double what Prometheus adds. */
  readonly nodeId?: string | undefined;
  readonly version?: string | undefined;
  /** Of several that are scraped as one: a label on everything. */
  readonly worker?: number | undefined;
}

export interface Metrics {
  readonly contentType: string;
  /** All metrics in the Prometheus text format, read now. */
  text(): Promise<string>;
  /** Stops measuring the event loop. */
  close(): void;
}

/**
 * prom-client's monitor of the event loop would wake an idle process a hundred times a second,
 * for what starling_event_loop_lag_* tell. It cannot be left out, only be slowed down.
 */
const NEVER_MS = 2 ** 31 - 1;

/** Metrics of one node, in a registry of their own: two nodes may live in one process. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  if (options.worker !== undefined) registry.setDefaultLabels({ worker: String(options.worker) });
  collectConnections(registry, options);
  collectMessages(registry, options.stats);
  collectRequests(registry, options.stats);
  collectHistory(registry, options.stats);
  collectBridge(registry, options);
  const stopEventLoop = collectEventLoopLag(registry);
  // Under their usual names, process_* and nodejs_*: that is what dashboards look for.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER_MS });
  for (const part of ["min", "max", "mean", "stddev", "p50", "p90", "p99"]) {
    registry.removeSingleMetric(`nodejs_eventloop_lag_${part}_seconds`);
  }
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: stopEventLoop,
  };
}

function collectConnections(registry: Registry, { stats, gauges, nodeId, version }: MetricsOptions): void {
  const name = (suffix: string) => `starling_${suffix}`;
  info(registry, { node: nodeId ?? "", version: version ?? "" });
  gauge(registry, { name: name("ready"), help: "1 if this node should get clients" }, () =>
    Number(gauges.ready()),
  );
  gauge(registry, { name: name("connections"), help: "Open connections" }, () => stats.connections);
  const { idleSockets, unauthenticated, addresses } = gauges;
  const counted = {
    idle_sockets: ["Sockets on the clients' port that are no WebSocket, or not yet", idleSockets],
    unauthenticated_connections: ["Open connections that have yet to authenticate", unauthenticated],
    limited_addresses: [
      "Client addresses that are remembered because something is limited by them",
      addresses,
    ],
  } as const satisfies Record<string, readonly [string, (() => number) | undefined]>;
  for (const [suffix, [help, read]] of Object.entries(counted)) {
    if (read !== undefined) gauge(registry, { name: name(suffix), help }, read);
  }
  if (gauges.apps !== undefined) collectApps(registry, () => gauges.apps?.() ?? []);
  counter(registry, { name: name("connects_total"), help: "Connections opened" }, () => stats.connects);
  labelledCounter(
    registry,
    {
      name: name("disconnects_total"),
      help: "Connections closed, by protocol and reason",
      labels: ["protocol", "reason"],
    },
    () => disconnectCounts(stats),
  );
  labelledCounter(
    registry,
    {
      name: name("rejects_total"),
      help: "Refusals: error codes of commands, and why upgrades were refused",
      labels: ["reason"],
    },
    () => rejectCounts(stats),
  );
  counter(
    registry,
    { name: name("heartbeat_timeouts_total"), help: "Connections closed because a ping was not answered" },
    () => stats.heartbeatTimeouts,
  );
  counter(
    registry,
    { name: name("slow_closes_total"), help: "Connections closed because too many bytes waited for them" },
    () => stats.slowCloses,
  );
  counter(
    registry,
    {
      name: name("drop_reports_total"),
      help: "Times the socket server reported dropped frames: a flag, not a count",
    },
    () => stats.dropReports,
  );
  counter(
    registry,
    { name: name("sessions_resumed_total"), help: "Sessions resumed on this node" },
    () => stats.resumed,
  );
  counter(
    registry,
    {
      name: name("sessions_superseded_total"),
      help: "Connections closed because another resumed their session",
    },
    () => stats.superseded,
  );
  counter(
    registry,
    { name: name("session_faults_total"), help: "Sessions ended by a fault of the node's own" },
    () => stats.sessionFaults,
  );
  gauge(
    registry,
    { name: name("draining"), help: "1 if this node refuses newcomers and is about to stop" },
    () => stats.draining,
  );
  counter(
    registry,
    {
      name: name("drained_total"),
      help: "Connections that were sent to other nodes before this one stopped",
    },
    () => stats.drained,
  );
}

function collectMessages(registry: Registry, stats: Stats): void {
  gauge(
    registry,
    { name: "starling_subscriptions", help: "Subscriptions of open connections" },
    () => stats.subscriptions,
  );
  counter(
    registry,
    {
      name: "starling_presence_joins_total",
      help: "Subscriptions that made a connection a member of a channel with presence",
    },
    () => stats.presenceJoins,
  );
  type Count = Exclude<keyof FramingStats, "protocol" | "framing">;
  const byFraming =
    (labelled: typeof labelledCounter) =>
    (name: string, help: string, field: Count): void =>
      labelled(registry, { name, help, labels: ["protocol", "codec"] }, () =>
        // Framings are the node's own, so there are as many series as it has of them.
        stats.framings.map((counts) => [[counts.protocol, counts.framing], counts[field]] as const),
      );
  const gaugePerFraming = byFraming(labelledGauge);
  const perFraming = byFraming(labelledCounter);
  gaugePerFraming(
    "starling_protocol_connections",
    "Open connections, by protocol and encoding",
    "connections",
  );
  gaugePerFraming(
    "starling_protocol_subscriptions",
    "Subscriptions of open connections, by protocol and encoding",
    "subscriptions",
  );
  perFraming("starling_messages_in_total", "Frames from clients", "messagesIn");
  perFraming("starling_messages_out_total", "Frames to clients, one per receiver", "messagesOut");
  perFraming("starling_bytes_in_total", "Bytes of frames from clients", "bytesIn");
  perFraming("starling_bytes_out_total", "Bytes of frames to clients, one per receiver", "bytesOut");
  counter(
    registry,
    { name: "starling_publications_delivered_total", help: "Publications handed to local subscribers" },
    () => stats.publicationsDelivered,
  );
  counter(
    registry,
    {
      name: "starling_publications_unheard_total",
      help: "Publications from the bus without a local subscriber",
    },
    () => stats.publicationsUnheard,
  );
  histogram(
    registry,
    {
      name: "starling_publish_to_deliver_seconds",
      help: "From the publishing node's batch to local delivery, seconds; clocks of nodes differ",
    },
    stats.deliverySeconds,
  );
}

function collectRequests(registry: Registry, stats: Stats): void {
  labelledCounter(
    registry,
    {
      name: "starling_api_errors_total",
      help: "Requests of the HTTP APIs that were refused or failed, by error code",
      labels: ["code"],
    },
    // Only the APIs' own codes are counted.
    () => [...stats.apiErrors].map(([code, count]) => [[code], count]),
  );
  // Routes and statuses are the APIs' own, whatever path is asked for.
  labelledCounter(
    registry,
    {
      name: "starling_api_requests_total",
      help: "Requests of the HTTP APIs, by route and status of the answer; probes and scrapes apart",
      labels: ["api", "route", "status"],
    },
    () =>
      stats.routes.flatMap(({ api, route, statuses }) =>
        Array.from(statuses, ([status, count]) => [[api, route, String(status)], count] as const),
      ),
  );
  labelledHistogram(
    registry,
    {
      name: "starling_api_request_seconds",
      help: "From the head of a request to an HTTP API to its answer, seconds",
    },
    () => stats.routes.map(({ api, route, seconds }) => [{ api, route }, seconds] as const),
  );
}

function collectHistory(registry: Registry, stats: Stats): void {
  const counters = {
    recoveries_total: ["Subscribers who gave a position and got all that followed it", () => stats.recovered],
    recoveries_failed_total: [
      "Subscribers who gave a position that history does not reach back to",
      () => stats.unrecovered,
    ],
    gaps_total: ["Channels whose subscribers were told that something is lost, or may be", () => stats.gaps],
    publications_stale_total: [
      "Publications dropped as of an epoch that their channel had left",
      () => stats.publicationsStale,
    ],
    history_reads_total: ["Times history was read for a channel's subscribers", () => stats.historyReads],
    slow_skips_total: ["Slow readers that were skipped, to be repaired from history", () => stats.slowSkips],
  } as const satisfies Record<string, readonly [string, () => number]>;
  for (const [name, [help, read]] of Object.entries(counters)) {
    counter(registry, { name: `starling_${name}`, help }, read);
  }
}

function collectBridge(registry: Registry, { stats, gauges }: MetricsOptions): void {
  gauge(registry, { name: "starling_channels", help: "Channels with local subscribers" }, () =>
    gauges.channels(),
  );
  gauge(
    registry,
    { name: "starling_registry_size", help: "Connections that this node has in the registry" },
    () => stats.registrySize,
  );
  if (gauges.bridgeUp !== undefined) {
    gauge(registry, { name: "starling_bridge_up", help: "1 if the link to the bus is up" }, () =>
      Number(gauges.bridgeUp?.()),
    );
  }
  counter(
    registry,
    { name: "starling_bridge_reconnects_total", help: "Times the link to the bus was made again" },
    () => stats.bridgeReconnects,
  );
  counter(
    registry,
    { name: "starling_envelopes_skipped_total", help: "Envelopes from the bus that could not be read" },
    () => stats.envelopesSkipped,
  );
  histogram(
    registry,
    {
      name: "starling_bridge_round_trip_seconds",
      help: "Time for a probe to come back from the bus, seconds",
    },
    stats.bridgeRoundTripSeconds,
  );
  histogram(
    registry,
    { name: "starling_bridge_batch_items", help: "Publications per batch that left for the bus" },
    stats.batchItems,
  );
  histogram(
    registry,
    {
      name: "starling_bridge_publish_seconds",
      help: "From a publication's batch being opened to the answer of the bus, seconds; 1 ms is the least",
    },
    stats.publishSeconds,
  );
  counter(
    registry,
    {
      name: "starling_publications_failed_total",
      help: "Publications of this node that the bus refused, or whose outcome is unknown",
    },
    () => stats.publicationsFailed,
  );
}
