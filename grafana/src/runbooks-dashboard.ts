/** docs/operations.md's runbooks where they are needed: a link from a panel works in any Grafana. */

import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import * as text from "@grafana/grafana-foundation-sdk/text";
import { ALERTS, panelIdOf, runbookOf, RUNBOOKS_UID } from "./runbooks.js";

export function runbooksDashboard(operations: string): dashboard.Dashboard {
  const made = new dashboard.DashboardBuilder("Starling: runbooks")
    .uid(RUNBOOKS_UID)
    .description("What to do about each alert, from docs/operations.md.")
    .tags(["starling"])
    .readonly();
  for (const alert of ALERTS) {
    made.withPanel(
      new text.PanelBuilder()
        .id(panelIdOf(alert))
        .title(alert)
        .mode(text.TextMode.Markdown)
        .content(runbookOf(alert, operations))
        .height(8)
        .span(12),
    );
  }
  return made.build();
}
