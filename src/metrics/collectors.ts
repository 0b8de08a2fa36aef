/** Metrics that are read where they are kept, at the moment of a scrape. */

import { Counter, Gauge, type Metric, type Registry } from "prom-client";
import type { Buckets } from "../core/stats.js";

export interface Description {
  readonly name: string;
  readonly help: string;
}

/** A counter whose number is kept elsewhere. */
export function counter(registry: Registry, { name, help }: Description, read: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}

/** A metric by labels. `read` gives their values in order, and must bound what they can be. */
function labelled(Metric: typeof Counter | typeof Gauge) {
  return (
    registry: Registry,
    { name, help, labels }: Description & { readonly labels: readonly string[] },
    read: () => Iterable<readonly [values: readonly string[], count: number]>,
  ): void => {
    new Metric({
      name,
      help,
      labelNames: labels,
      registers: [registry],
      collect(this: Counter | Gauge) {
        this.reset();
        for (const [values, count] of read()) {
          this.inc(Object.fromEntries(labels.map((label, i) => [label, values[i]!])), count);
        }
      },
    });
  };
}

export const labelledCounter = labelled(Counter);
export const labelledGauge = labelled(Gauge);

export function gauge(registry: Registry, { name, help }: Description, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/** What this process is: labels of a series that is always 1. */
export function info(registry: Registry, labels: Readonly<Record<string, string>>): void {
  new Gauge({
    name: "starling_info",
    help: "This node; always 1",
    labelNames: Object.keys(labels),
    registers: [registry],
  }).set(labels, 1);
}

type Labels = Readonly<Record<string, string>>;

const NO_LABELS: Labels = {};

export function histogram(registry: Registry, description: Description, buckets: Buckets): void {
  labelledHistogram(registry, description, () => [[NO_LABELS, buckets]]);
}

/**
 * Histograms of values that were counted into Buckets. prom-client's own can
 * only observe; its registry takes whatever has this shape.
 */
export function labelledHistogram(
  registry: Registry,
  { name, help }: Description,
  read: () => Iterable<readonly [labels: Labels, buckets: Buckets]>,
): void {
  const shape = { name, help, type: "histogram", aggregator: "sum" };
  const metric = {
    ...shape,
    reset: () => undefined,
    get: () =>
      Promise.resolve({
        ...shape,
        values: Array.from(read(), ([labels, buckets]) => values(name, labels, buckets)).flat(),
      }),
  };
  registry.registerMetric(metric as unknown as Metric);
}

function values(name: string, labels: Labels, buckets: Buckets): object[] {
  let cumulative = 0;
  const lines: object[] = buckets.bounds.map((bound, index) => {
    cumulative += buckets.counts[index]!;
    return { metricName: `${name}_bucket`, labels: { ...labels, le: String(bound) }, value: cumulative };
  });
  return [
    ...lines,
    { metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: buckets.count },
    { metricName: `${name}_sum`, labels, value: buckets.sum },
    { metricName: `${name}_count`, labels, value: buckets.count },
  ];
}
