/** Every query that Grafana or Prometheus will ask, taken from the files that they read. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

export interface Query {
  /** Dashboard row and panel, or rule. */
  readonly where: string;
  readonly legend: string;
  readonly expr: string;
}

export interface Target {
  readonly expr: string;
  readonly legendFormat: string;
}

interface PanelJson {
  readonly type: string;
  readonly title: string;
  readonly targets?: readonly Target[];
  readonly panels?: readonly PanelJson[];
}

interface RulesFile {
  readonly groups: readonly {
    readonly rules: readonly { readonly record?: string; readonly alert?: string; readonly expr: string }[];
  }[];
}

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** As the variables stand when the dashboard is opened. */
const VARIABLES: Readonly<Record<string, string>> = {
  $job: "starling",
  $node: ".+",
  $envoy: "envoy",
  $cluster: "nodes|api",
};

/** What Grafana puts in for the variables. */
export function filledIn(expr: string, rateInterval: string): string {
  let filled = expr.replaceAll("$__rate_interval", rateInterval);
  for (const [name, value] of Object.entries(VARIABLES)) filled = filled.replaceAll(name, value);
  const left = /\$[a-zA-Z_]+/.exec(filled);
  if (left !== null) throw new Error(`no value for ${left[0]} in ${expr}`);
  return filled;
}

export function dashboardQueries(rateInterval: string): Query[] {
  const queries: Query[] = [];
  const collect = (panels: readonly PanelJson[], row: string): void => {
    let inRow = row;
    for (const panel of panels) {
      if (panel.type === "row") {
        inRow = panel.title;
        collect(panel.panels ?? [], inRow);
        continue;
      }
      for (const { expr, legendFormat } of panel.targets ?? []) {
        queries.push({
          where: `${inRow}: ${panel.title}`,
          legend: legendFormat,
          expr: filledIn(expr, rateInterval),
        });
      }
    }
  };
  const { panels } = JSON.parse(readFileSync(at("grafana/dashboards/starling.json"), "utf8")) as {
    panels: PanelJson[];
  };
  collect(panels, "State");
  return queries;
}

export function ruleQueries(): Query[] {
  return readdirSync(at("prometheus/rules")).flatMap((file) => {
    const { groups } = parse(readFileSync(at(`prometheus/rules/${file}`), "utf8")) as RulesFile;
    return groups.flatMap(({ rules }) =>
      rules.map(({ record, alert, expr }) => ({
        where: `rule: ${record ?? alert}`,
        legend: record === undefined ? "is true" : "value",
        expr: record === undefined ? withoutCondition(expr.trim()) : expr.trim(),
      })),
    );
  });
}

/**
 * An alert's expression gives nothing while all is well, and so would one with a misspelt metric. Asked
 * instead: whether it is true, 0 or 1, for everything that it compares.
 */
export function withoutCondition(expr: string): string {
  return expr
    .replaceAll(/(?<![=!<>~])(==|>=|<=|>|<)(?!bool)(?=\s)/g, "$1 bool")
    .replaceAll(/\bunless\b/g, "and")
    .replaceAll(/\babsent\(/g, "count(");
}

/** `or vector(0)` would hide a metric that does not exist. */
export function metricsIn(queries: readonly Query[]): string[] {
  const names = queries.flatMap(
    ({ expr }) => expr.match(/\b(?:starling|envoy|process|nodejs)_[a-z0-9_]+(?=[{[\s)]|$)/g) ?? [],
  );
  return [...new Set(names)]
    .filter((name) => !name.startsWith("envoy_response") && name !== "envoy_cluster_name")
    .sort();
}
