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
  const labels = new AppLabels(apps);
  const gauge = (name: string, help: string, read: (app: CountedApp) => number): void =>
    labelledGauge(registry, { name, help, labels: ["app"] }, () =>
      labels.read().map((app) => [[app.id], read(app)]),
    );
  const counter = (
    name: string,
    help: string,
    more: readonly string[],
    read: (counts: AppCounts) => readonly Sample[],
  ): void =>
    labelledCounter(registry, { name, help, labels: ["app", ...more] }, () =>
      labels
        .read()
        .flatMap(({ id, counts }) =>
          read(counts).map(([values, count]) => [[id, ...values], count] as const),
        ),
    );

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
  readonly #apps: () => Iterable<CountedApp>;
  readonly #shown = new Set<string>();
  /** As they were last. */
  #counted: ReadonlyMap<string, AppCounts> = new Map();
  /** Of apps without a label of their own that are gone: a counter never falls. */
  readonly #gone = new AppCounts();
  /** The metrics of one scrape are read in one turn, and there may be very many apps. */
  #read: readonly CountedApp[] | undefined;

  constructor(apps: () => Iterable<CountedApp>) {
    this.#apps = apps;
  }

  /** Each with its label as id. */
  read(): readonly CountedApp[] {
    if (this.#read === undefined) {
      this.#read = this.#labelled([...this.#apps()]);
      queueMicrotask(() => (this.#read = undefined));
    }
    return this.#read;
  }

  #labelled(apps: readonly CountedApp[]): readonly CountedApp[] {
    if (this.#shown.size < APP_LABELS_MAX) {
      const ids = apps.map(({ id }) => id).sort();
      for (const id of ids) if (this.#shown.size < APP_LABELS_MAX) this.#shown.add(id);
    }
    this.#keepGone(apps);
    const own = apps.filter(({ id }) => this.#shown.has(id));
    const others = apps.filter(({ id }) => !this.#shown.has(id));
    const counts = new AppCounts();
    for (const each of [this.#gone, ...others.map((app) => app.counts)]) add(counts, each);
    if (others.length === 0 && Object.values(counts).every((count) => count === 0)) return own;
    const connections = others.reduce((sum, app) => sum + app.connections, 0);
    return [...own, { id: OTHER_APPS, connections, counts }];
  }

  #keepGone(apps: readonly CountedApp[]): void {
    const now = new Map(apps.map(({ id, counts }) => [id, counts]));
    for (const [id, counts] of this.#counted) {
      if (now.get(id) !== counts && !this.#shown.has(id)) add(this.#gone, counts);
    }
    // Those of connections that were about to be closed.
    this.#gone.subscriptions = 0;
    this.#counted = now;
  }
}

function add(sum: AppCounts, counts: AppCounts): void {
  for (const name of Object.keys(sum) as (keyof AppCounts)[]) sum[name] += counts[name];
}
