/** Panels as this project draws them: what every one has, said once. */

import type * as cog from "@grafana/grafana-foundation-sdk/cog";
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import * as prometheus from "@grafana/grafana-foundation-sdk/prometheus";
import * as stat from "@grafana/grafana-foundation-sdk/stat";
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";
import { runbookUrl, type AlertName } from "./runbooks.js";

export const DATASOURCE: common.DataSourceRef = { type: "prometheus", uid: "${datasource}" };

/** A line of a panel: the legend is a template over the labels. */
export interface Query {
  readonly expr: string;
  readonly legend: string;
}

export interface Thresholds {
  /** From where on it is a warning; below that it is fine. */
  readonly warn?: number;
  readonly bad: number;
  /** The other way around: what is lower is worse. */
  readonly lowIsBad?: boolean;
}

export interface PanelOptions {
  readonly title: string;
  /** What it shows, and what to make of it. */
  readonly description: string;
  readonly unit: string;
  readonly queries: readonly Query[];
  readonly thresholds?: Thresholds;
  /** Alerts whose runbook says what to do when this looks bad. */
  readonly runbooks?: readonly AlertName[];
  /** Of 24. */
  readonly width: number;
}

export interface StatOptions extends PanelOptions {
  readonly texts?: Readonly<Record<string, string>>;
  /** Shown where there is no such series. */
  readonly noValue?: string;
  readonly decimals?: number;
}

export interface GraphOptions extends PanelOptions {
  readonly stacked?: boolean;
  /** Up to 1: for states rather than amounts. */
  readonly steps?: boolean;
}

const STAT_HEIGHT = 4;
const GRAPH_HEIGHT = 8;

export const GREEN = "green";
export const ORANGE = "orange";
export const RED = "red";

/** One number that is coloured by whether it is well. */
export function statPanel(options: StatOptions): cog.Builder<dashboard.Panel> {
  const panel = new stat.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(DATASOURCE)
    .unit(options.unit)
    .noValue(options.noValue ?? "no data")
    .height(STAT_HEIGHT)
    .span(options.width)
    .graphMode(common.BigValueGraphMode.Area)
    .colorMode(
      options.thresholds === undefined ? common.BigValueColorMode.Value : common.BigValueColorMode.Background,
    )
    .textMode(
      options.queries.length > 1 ? common.BigValueTextMode.ValueAndName : common.BigValueTextMode.Auto,
    )
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.Thresholds))
    .thresholds(steps(options.thresholds))
    .links(links(options.runbooks))
    .targets(targets(options.queries));
  if (options.decimals !== undefined) panel.decimals(options.decimals);
  if (options.texts !== undefined) {
    const texts = Object.entries(options.texts).map(([value, text]) => [value, { text }] as const);
    panel.mappings([{ type: dashboard.MappingType.ValueToText, options: Object.fromEntries(texts) }]);
  }
  return panel;
}

/** Lines over time; a threshold is drawn as a line. */
export function graphPanel(options: GraphOptions): cog.Builder<dashboard.Panel> {
  const panel = new timeseries.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(DATASOURCE)
    .unit(options.unit)
    .min(0)
    .height(GRAPH_HEIGHT)
    .span(options.width)
    .lineWidth(options.stacked === true ? 1 : 2)
    .fillOpacity(options.stacked === true ? 40 : 8)
    .showPoints(common.VisibilityMode.Never)
    .lineInterpolation(
      options.steps === true ? common.LineInterpolation.StepAfter : common.LineInterpolation.Linear,
    )
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.Table)
        .placement(common.LegendPlacement.Bottom)
        .calcs(["lastNotNull", "max"]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    )
    .thresholds(steps(options.thresholds))
    .thresholdsStyle(
      new common.GraphThresholdsStyleConfigBuilder().mode(
        options.thresholds === undefined
          ? common.GraphThresholdsStyleMode.Off
          : common.GraphThresholdsStyleMode.Dashed,
      ),
    )
    .links(links(options.runbooks))
    .targets(targets(options.queries));
  if (options.steps === true) panel.max(1).decimals(0);
  if (options.stacked === true) {
    panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  }
  return panel;
}

function targets(queries: readonly Query[]): cog.Builder<cog.Dataquery>[] {
  return queries.map(({ expr, legend }, index) =>
    new prometheus.DataqueryBuilder()
      .datasource(DATASOURCE)
      .refId(String.fromCharCode("A".charCodeAt(0) + index))
      .expr(expr)
      .legendFormat(legend)
      .range(),
  );
}

function steps(thresholds: Thresholds | undefined): cog.Builder<dashboard.ThresholdsConfig> {
  return new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps(stepsOf(thresholds));
}

function stepsOf(thresholds: Thresholds | undefined): dashboard.Threshold[] {
  if (thresholds === undefined) return [{ value: null, color: "blue" }];
  const { warn, bad, lowIsBad } = thresholds;
  if (lowIsBad === true) {
    // Reading upwards: bad until `bad`, a warning until `warn`, then fine.
    return [
      { value: null, color: RED },
      ...(warn === undefined
        ? [{ value: bad, color: GREEN }]
        : [
            { value: bad, color: ORANGE },
            { value: warn, color: GREEN },
          ]),
    ];
  }
  return [
    { value: null, color: GREEN },
    ...(warn === undefined ? [] : [{ value: warn, color: ORANGE }]),
    { value: bad, color: RED },
  ];
}

function links(runbooks: readonly AlertName[] | undefined): cog.Builder<dashboard.DashboardLink>[] {
  return (runbooks ?? []).map((alert) =>
    new dashboard.DashboardLinkBuilder(`Runbook: ${alert}`)
      .type(dashboard.DashboardLinkType.Link)
      .url(runbookUrl(alert))
      .targetBlank(true),
  );
}
