/** One process full of SDK clients for failover.ts, which starts it and asks it over IPC. */

import { WebSocket } from "ws";
import { connect, type Client } from "../src/client/index.js";

export type ClientRequest =
  | {
      readonly kind: "start";
      /** Tried in turn, the first at first. */
      readonly urls: readonly string[];
      /** Number of the first client: its own channel is `own-<number>`. */
      readonly first: number;
      readonly count: number;
      /** Connects a second. */
      readonly rate: number;
    }
  | { readonly kind: "summary" }
  | { readonly kind: "stop" };

export interface ClientReport {
  /** Clients that are subscribed to both channels for the first time. */
  ready: number;
  /** Clients whose session was resumed after a loss, and those that had to begin anew. */
  resumed: number;
  restarted: number;
  /** By content: how many clients received it in the common channel, and in their own. */
  readonly common: Record<string, number>;
  readonly own: Record<string, number>;
  readonly errors: Record<string, number>;
}

/** Answers `summary`: milliseconds from the loss of the connection to the resumed session, as each client saw it. */
export interface ResumeSummary {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const REPORT_MS = 100;
const report: ClientReport = { ready: 0, resumed: 0, restarted: 0, common: {}, own: {}, errors: {} };
const clients: Client[] = [];
const resumeMs: number[] = [];

function count(counts: Record<string, number>, key: unknown): void {
  counts[String(key)] = (counts[String(key)] ?? 0) + 1;
}

function open(urls: readonly string[], number: number): void {
  const client = connect(urls, { WebSocket });
  clients.push(client);
  client.on("error", (error) => count(report.errors, error.message));
  let connectedBefore = false;
  let lostAtMs: number | undefined;
  client.on("state", (change) => {
    if (change.state !== "connected") {
      if (connectedBefore) lostAtMs ??= performance.now();
      return;
    }
    if (connectedBefore) {
      if (lostAtMs !== undefined) resumeMs.push(performance.now() - lostAtMs);
      lostAtMs = undefined;
      if (change.resumed) report.resumed++;
      else report.restarted++;
    }
    connectedBefore = true;
  });
  const common = client.subscribe("common", (message) => count(report.common, message.content));
  const own = client.subscribe(`own-${number}`, (message) => count(report.own, message.content));
  Promise.all([common.ready, own.ready]).then(
    () => report.ready++,
    (error: unknown) => count(report.errors, error),
  );
}

function summary(): ResumeSummary {
  const sorted = resumeMs.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

process.on("message", (request: ClientRequest) => {
  if (request.kind === "stop") {
    for (const client of clients) client.close();
    process.exit(0);
  }
  if (request.kind === "summary") {
    process.send?.(summary());
    return;
  }
  const { urls, first, count: clientCount, rate } = request;
  let opened = 0;
  const start = performance.now();
  const opening = setInterval(() => {
    const due = Math.min(clientCount, Math.ceil(((performance.now() - start) / 1000) * rate));
    for (; opened < due; opened++) open(urls, first + opened);
    if (opened === clientCount) clearInterval(opening);
  }, 20);
  setInterval(() => process.send?.(report), REPORT_MS);
});
