/** Counts of apps. */

import type { Registry } from "prom-client";
import { OTHER_APPS } from "../core/app.js";
import { AppCounts } from "../core/stats.js";
import { labelledCounter, labelledGauge } from "./collectors.js";

/** Ids come from the configuration, which may have very many. */
const APP_LABELS_MAX = 100;

/** An app as metrics read it. */
export interface CountedApp {
  readonly id: string;
  readonly connections: number;
  readonly counts: AppCounts;
}

/** Labels besides the app's, and what they count. */
type Sample = readonly [labels: readonly string[], count: number];

export function collectApps(registry: Registry, apps: () => Iterable<CountedApp>): void {
  const labels = new AppLabels();
  const gauge = (name: string, help: string, read: (app: CountedApp) => number): void =>
    labelledGauge(registry, { name, help, labels: ["app"] }, () => labels.gauges(apps(), read));
  const counter = (
    name: string,
    help: string,
    more: readonly string[],
    read: (counts: AppCounts) => readonly Sample[],
  ): void =>
    labelledCounter(registry, { name, help, labels: ["app", ...more] }, () => labels.counters(apps(), read));

  gauge("starling_app_connections", "Open connections, by app", ({ connections }) => connections);
  gauge(
    "starling_app_subscriptions",
    "Subscriptions of open connections, by app",
    ({ counts }) => counts.subscriptions,
  );
  counter(
    "starling_app_publications_total",
    "Publications on this node, by app and by who published: clients, or back ends by an HTTP API",
    ["source"],
    ({ clientPublications, apiPublications }) => [
      [["client"], clientPublications],
      [["api"], apiPublications],
    ],
  );
  counter(
    "starling_app_deliveries_total",
    "Publications handed to an app's subscribers on this node, one per receiver",
    [],
    ({ deliveries }) => [[[], deliveries]],
  );
  counter(
    "starling_app_signatures_total",
    "What clients and back ends of the Pusher protocol signed, by app; refused: missing, wrong or out of date",
    ["result"],
    ({ signaturesValid, signaturesRefused }) => [
      [["valid"], signaturesValid],
      [["refused"], signaturesRefused],
    ],
  );
  counter(
    "starling_app_refusals_total",
    "Refusals for what an app's settings say, by app and reason",
    ["reason"],
    (counts) => [
      [["app_full"], counts.refusedFull],
      [["app_disabled"], counts.refusedDisabled],
      [["origin"], counts.refusedOrigin],
      [["client_event"], counts.clientEventsRefused],
      [["client_event_rate"], counts.clientEventsOverRate],
    ],
  );
}

/** What apps are called in labels: the first hundred by themselves, for as long as the process runs, the others together. */
class AppLabels {
  readonly #shown = new Set<string>();
  /** As they were last. */
  readonly #counted = new Map<string, AppCounts>();
  /** Of apps without a label of their own that are gone: a counter never falls. */
  readonly #gone = new AppCounts();

  gauges(apps: Iterable<CountedApp>, read: (app: CountedApp) => number): [[string], number][] {
    const { own, others } = this.#split(apps);
    const counts = own.map((app): [[string], number] => [[app.id], read(app)]);
    if (others.length > 0) counts.push([[OTHER_APPS], others.reduce((sum, app) => sum + read(app), 0)]);
    return counts;
  }

  counters(apps: Iterable<CountedApp>, read: (counts: AppCounts) => readonly Sample[]): [string[], number][] {
    const { own, others } = this.#split(apps);
    this.#keepGone([...own, ...others]);
    const all = own.map(({ id, counts }): [string, AppCounts] => [id, counts]);
    const rest = sumOf([this.#gone, ...others.map(({ counts }) => counts)]);
    if (others.length > 0 || isCounted(rest)) all.push([OTHER_APPS, rest]);
    return all.flatMap(([id, counts]) =>
      read(counts).map(([labels, count]): [string[], number] => [[id, ...labels], count]),
    );
  }

  #split(apps: Iterable<CountedApp>): { own: CountedApp[]; others: CountedApp[] } {
    const sorted = [...apps].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const { id } of sorted) if (this.#shown.size < APP_LABELS_MAX) this.#shown.add(id);
    const isOwn = ({ id }: CountedApp): boolean => this.#shown.has(id);
    return { own: sorted.filter(isOwn), others: sorted.filter((app) => !isOwn(app)) };
  }

  #keepGone(apps: readonly CountedApp[]): void {
    const now = new Map(apps.map(({ id, counts }) => [id, counts]));
    for (const [id, counts] of this.#counted) {
      if (now.get(id) === counts) continue;
      this.#counted.delete(id);
      if (!this.#shown.has(id)) Object.assign(this.#gone, sumOf([this.#gone, counts]));
    }
    for (const { id, counts } of apps) this.#counted.set(id, counts);
  }
}

function sumOf(all: readonly AppCounts[]): AppCounts {
  const sum = new AppCounts();
  for (const counts of all) {
    for (const name of Object.keys(sum) as (keyof AppCounts)[]) sum[name] += counts[name];
  }
  return sum;
}

function isCounted(counts: AppCounts): boolean {
  return Object.values(counts).some((count) => count !== 0);
}
