/** The dashboard that whoever is on call opens first. */

import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import { DATASOURCE } from "./panel.js";
import { ROWS } from "./rows.js";
import { stateOfUsers } from "./state.js";

export const MAIN_UID = "starling";

export function mainDashboard(): dashboard.Dashboard {
  const made = new dashboard.DashboardBuilder("Starling: are users well?")
    .uid(MAIN_UID)
    .description("The top row says whether users are well; each row below says why they are not.")
    .tags(["starling"])
    .readonly()
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .time({ from: "now-30m", to: "now" })
    .refresh("5s")
    .timezone("browser")
    .variables(variables())
    .annotation(
      new dashboard.AnnotationQueryBuilder()
        .name("Firing alerts")
        .datasource(DATASOURCE)
        .enable(true)
        .hide(false)
        .iconColor("red")
        .expr('ALERTS{alertstate="firing",alertname=~"Starling.*|Envoy.*"}')
        .step("15s")
        .titleFormat("{{alertname}}")
        .textFormat("{{instance}}"),
    )
    .link(
      new dashboard.DashboardLinkBuilder("Runbooks")
        .type(dashboard.DashboardLinkType.Link)
        .url("/d/starling-runbooks/")
        .targetBlank(true),
    );
  for (const panel of stateOfUsers()) made.withPanel(panel);
  for (const { title, panels } of ROWS) {
    made.withRow(new dashboard.RowBuilder(title));
    for (const panel of panels()) made.withPanel(panel);
  }
  return made.build();
}

function variables(): Builder<dashboard.VariableModel>[] {
  return [
    new dashboard.DatasourceVariableBuilder("datasource")
      .label("Data source")
      .type("prometheus")
      .current({ text: "Prometheus", value: "prometheus" }),
    choice("job", "Fleet", "label_values(starling_info, job)", ".+"),
    choice("node", "Node", 'label_values(starling_info{job=~"$job"}, instance)', ".+"),
    choice("envoy", "Envoy", "label_values(envoy_server_live, job)", ".+"),
    choice(
      "cluster",
      "Envoy cluster",
      // What has health checks is what clients are sent to, not Envoy's way to its own statistics.
      'label_values(envoy_cluster_health_check_attempt{job=~"$envoy"}, envoy_cluster_name)',
    ),
  ];
}

function choice(name: string, label: string, query: string, all?: string): Builder<dashboard.VariableModel> {
  const made = new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(DATASOURCE)
    .query(query)
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .current({ text: "All", value: "$__all" });
  // Else All is what the query found, one by one.
  if (all !== undefined) made.allValue(all);
  return made;
}
