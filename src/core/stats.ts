/**
 * What core counts. Plain numbers, as an increment on the hot path must cost
 * nothing; metrics/ reads them when it is scraped.
 */

import type { CloseReason } from "./closing.js";
import type { RejectReason } from "./rejects.js";

/** client: it closed the connection; lost: nobody did. */
export type DisconnectReason = CloseReason | "client" | "lost";

/** Counts values into fixed buckets; upper bounds in seconds, ascending. */
export class Buckets {
  readonly bounds: readonly number[];
  /** Not cumulative; the last one counts what is over every bound. */
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number, times = 1): void {
    let at = 0;
    while (at < this.bounds.length && value > this.bounds[at]!) at++;
    this.counts[at]! += times;
    this.sum += value * times;
    this.count += times;
  }
}

const DELIVERY_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const BATCH_ITEMS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000];

export interface FramingStats {
  readonly protocol: string;
  readonly framing: string;
  /** Open ones, and their subscriptions. */
  connections: number;
  subscriptions: number;
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
}

/** Of one app on this node. But for its subscriptions, these only grow. */
export class AppCounts {
  /** Of open connections. */
  subscriptions = 0;
  /** Publications by its clients, and by back ends. */
  clientPublications = 0;
  apiPublications = 0;
  /** Publications handed to its subscribers, one per receiver. */
  deliveries = 0;
  /** What clients and back ends signed. Refused: missing, wrong, or out of date. */
  signaturesValid = 0;
  signaturesRefused = 0;
  /** Upgrades, and requests of a disabled app's back ends. */
  refusedFull = 0;
  refusedDisabled = 0;
  refusedOrigin = 0;
  /** Events of clients that reached their rate limit, and those that are not allowed as they are. */
  clientEventsOverRate = 0;
  clientEventsRefused = 0;
}

/** Upper bounds in seconds, for answers to back ends. */
const ANSWER_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5];

/** Of one kind of request to an HTTP API. */
export class RouteStats {
  readonly api: string;
  readonly route: string;
  /** Requests, by the HTTP status of their answer. */
  readonly statuses: Map<number, number>;
  /** From the request's head to its answer. */
  readonly seconds = new Buckets(ANSWER_SECONDS);

  constructor(api: string, route: string, statuses: readonly number[]) {
    this.api = api;
    this.route = route;
    this.statuses = new Map(statuses.map((status) => [status, 0]));
  }

  answered(status: number, seconds: number): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    this.seconds.observe(seconds);
  }
}

export class Stats {
  connections = 0;
  connects = 0;
  subscriptions = 0;
  /** Subscriptions that made a connection a member of a channel with presence. */
  presenceJoins = 0;
  /** Publications handed to local topics. */
  publicationsDelivered = 0;
  /** Publications that came from the bus and had no local subscriber. */
  publicationsUnheard = 0;
  /** Publications of an epoch that their channel had left: dropped. */
  publicationsStale = 0;
  /** Publications of this node that the bus refused, or whose outcome is unknown. */
  publicationsFailed = 0;
  /** Channels that were told of something lost. */
  gaps = 0;
  /** Subscribers who gave a position, and got all since or were told that it is not there. */
  recovered = 0;
  unrecovered = 0;
  historyReads = 0;
  /** Slow readers that were skipped instead of closed. */
  slowSkips = 0;
  heartbeatTimeouts = 0;
  slowCloses = 0;
  /** Sockets that uWebSockets.js reported drops for (it undercounts: a flag, not a count). */
  dropReports = 0;
  resumed = 0;
  superseded = 0;
  sessionFaults = 0;
  /** 1 from the moment the node refuses newcomers because it is about to stop. */
  draining = 0;
  /** Connections that a drain sent away. */
  drained = 0;
  bridgeReconnects = 0;
  /** Bus envelopes that could not be read: corrupt, too large, or of an unknown version. */
  envelopesSkipped = 0;
  registrySize = 0;
  /** By protocol and reason. */
  readonly disconnects = new Map<string, Map<DisconnectReason, number>>();
  /** By reason: error codes of answered frames, and why upgrades were refused. */
  readonly rejects = new Map<RejectReason, number>();
  /** Requests of the server API that were refused or failed, by error code. */
  readonly apiErrors = new Map<string, number>();
  readonly framings: FramingStats[] = [];
  readonly routes: RouteStats[] = [];
  readonly deliverySeconds = new Buckets(DELIVERY_SECONDS);
  readonly bridgeRoundTripSeconds = new Buckets(DELIVERY_SECONDS);
  readonly batchItems = new Buckets(BATCH_ITEMS);
  /** From a publication's batch being opened to the bus's answer: once per batch, weighted by its items. */
  readonly publishSeconds = new Buckets(DELIVERY_SECONDS);

  reject(reason: RejectReason, times = 1): void {
    this.rejects.set(reason, (this.rejects.get(reason) ?? 0) + times);
  }

  disconnect(protocol: string, reason: DisconnectReason): void {
    let reasons = this.disconnects.get(protocol);
    if (reasons === undefined)
      this.disconnects.set(protocol, (reasons = new Map<DisconnectReason, number>()));
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }

  /** @returns the counts of a framing, which start here */
  countFraming(protocol: string, framing: string): FramingStats {
    const counts = {
      ...{ protocol, framing, connections: 0, subscriptions: 0 },
      ...{ messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 },
    };
    this.framings.push(counts);
    return counts;
  }

  /**
   * @param statuses  those that are shown from the start
   * @returns the counts of a route, which start here
   */
  countRoute(api: string, route: string, statuses: readonly number[]): RouteStats {
    const counts = new RouteStats(api, route, statuses);
    this.routes.push(counts);
    return counts;
  }
}
