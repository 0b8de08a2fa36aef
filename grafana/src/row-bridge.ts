import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import * as units from "@grafana/grafana-foundation-sdk/units";
import { mean, own, quantile, rate, sum } from "./expressions.js";
import { graphPanel } from "./panel.js";

const PUBLISH = "starling_bridge_publish_seconds";
const ROUND_TRIP = "starling_bridge_round_trip_seconds";

export function bridge(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Link to the bus",
      description: "1: probes pass both ways. One node at 0 has a network of its own to blame; all: Redis.",
      unit: units.Short,
      width: 8,
      steps: true,
      queries: [{ expr: `min by (instance) (${own("starling_bridge_up")})`, legend: "{{instance}}" }],
      runbooks: ["StarlingBridgeDown", "StarlingBridgeFlapping"],
    }),
    graphPanel({
      title: "Publish to the answer of the bus",
      description: "How long a publisher waits: from the opening of the batch to Redis having it.",
      unit: units.Seconds,
      width: 8,
      thresholds: { warn: 0.1, bad: 0.25 },
      queries: [
        { expr: quantile(0.5, PUBLISH), legend: "p50" },
        { expr: quantile(0.99, PUBLISH), legend: "p99" },
      ],
      runbooks: ["StarlingBridgeSlow"],
    }),
    graphPanel({
      title: "Round trip of a probe",
      description: "Through Redis and back to the same node, measured by one clock.",
      unit: units.Seconds,
      width: 8,
      thresholds: { warn: 0.1, bad: 0.25 },
      queries: [
        { expr: quantile(0.5, ROUND_TRIP), legend: "p50" },
        { expr: quantile(0.99, ROUND_TRIP), legend: "p99" },
      ],
      runbooks: ["StarlingBridgeSlow"],
    }),
    graphPanel({
      title: "Publications failed",
      description: "Refused by the bus, or it may not have taken them: the publisher was told.",
      unit: units.OpsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        { expr: sum(rate(own("starling_publications_failed_total")), "instance"), legend: "{{instance}}" },
      ],
      runbooks: ["StarlingPublicationsFailing"],
    }),
    graphPanel({
      title: "Publications per batch",
      description: "Mean by node. It grows with load: that is what keeps the bus from being the limit.",
      unit: units.Short,
      width: 8,
      queries: [{ expr: mean("starling_bridge_batch_items", "instance"), legend: "{{instance}}" }],
    }),
    graphPanel({
      title: "Links made again, envelopes skipped",
      description:
        "An envelope that could not be read is corrupt, too large, or of a version not known here.",
      unit: units.CountsPerMinute,
      width: 8,
      queries: [
        { expr: `60 * ${sum(rate(own("starling_bridge_reconnects_total")))}`, legend: "reconnects" },
        { expr: `60 * ${sum(rate(own("starling_envelopes_skipped_total")))}`, legend: "envelopes skipped" },
      ],
      runbooks: ["StarlingBridgeFlapping", "StarlingEnvelopesSkipped"],
    }),
  ];
}
