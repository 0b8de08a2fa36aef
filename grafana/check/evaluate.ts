/** Asks Prometheus. */

import type { Query } from "./queries.js";

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Seconds since 1970, and the value. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Result extends Query {
  readonly series: number;
  /** The largest at the end, and at any time; undefined: there was none. */
  readonly last: number | undefined;
  readonly highest: number | undefined;
}

export interface Span {
  readonly from: number;
  readonly to: number;
  readonly step: number;
}

interface Answer {
  readonly status: string;
  readonly error?: string;
  readonly data: {
    readonly result: readonly {
      readonly metric: Record<string, string>;
      readonly values: [number, string][];
    }[];
  };
}

/** @throws Error with what Prometheus says about the query */
export async function range(url: string, expr: string, { from, to, step }: Span): Promise<Series[]> {
  const body = new URLSearchParams({ query: expr, start: `${from}`, end: `${to}`, step: `${step}` });
  const response = await fetch(`${url}/api/v1/query_range`, { method: "POST", body });
  const answer = (await response.json()) as Answer;
  if (answer.status !== "success") throw new Error(`${expr}: ${answer.error}`);
  return answer.data.result.map(({ metric, values }) => ({
    metric,
    points: values
      .map(([time, value]) => [time, Number(value)] as const)
      .filter(([, value]) => !isNaN(value)),
  }));
}

export async function evaluate(url: string, query: Query, span: Span): Promise<Result> {
  const all = (await range(url, query.expr, span)).filter(({ points }) => points.length > 0);
  const max = (values: readonly number[]): number | undefined =>
    values.length === 0 ? undefined : Math.max(...values);
  return {
    ...query,
    series: all.length,
    last: max(
      all.filter(({ points }) => points.at(-1)![0] >= span.to - 5).map(({ points }) => points.at(-1)![1]),
    ),
    highest: max(all.flatMap(({ points }) => points.map(([, value]) => value))),
  };
}

/** @returns those that have no series of that name in the span */
export async function missing(url: string, metrics: readonly string[], span: Span): Promise<string[]> {
  const found = await Promise.all(
    metrics.map(async (name) => (await range(url, `count({__name__="${name}"})`, span)).length > 0),
  );
  return metrics.filter((_, index) => !found[index]);
}
