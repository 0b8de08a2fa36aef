import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import * as units from "@grafana/grafana-foundation-sdk/units";
import { own, quantile, rate, sum } from "./expressions.js";
import { graphPanel } from "./panel.js";

const DELIVERY = "starling_publish_to_deliver_seconds";
const within = (le: string): string =>
  `${sum(rate(own(`${DELIVERY}_bucket`, `le="${le}"`)))} / ${sum(rate(own(`${DELIVERY}_count`)))}`;

export function delivery(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Publish to delivery",
      description:
        "From the publishing node's batch to the sockets of the receiving node, over the fleet. Clocks of nodes " +
        "that differ shift it: compare with the bridge's round trip, which one clock measures.",
      unit: units.Seconds,
      width: 8,
      thresholds: { warn: 0.1, bad: 0.5 },
      queries: [
        { expr: quantile(0.5, DELIVERY), legend: "p50" },
        { expr: quantile(0.9, DELIVERY), legend: "p90" },
        { expr: quantile(0.99, DELIVERY), legend: "p99" },
        { expr: quantile(0.999, DELIVERY), legend: "p99.9" },
      ],
      runbooks: ["StarlingDeliverySlow"],
    }),
    graphPanel({
      title: "p99 by receiving node",
      description: "One node that stands out has a busy loop or a clock that is off; all of them: the bus.",
      unit: units.Seconds,
      width: 8,
      thresholds: { warn: 0.1, bad: 0.5 },
      queries: [{ expr: quantile(0.99, DELIVERY, "instance"), legend: "{{instance}}" }],
      runbooks: ["StarlingDeliverySlow", "StarlingEventLoopBlocked"],
    }),
    graphPanel({
      title: "Delivered within",
      description: "Share of publications that were handed to the sockets within 25, 100 and 500 ms.",
      unit: units.PercentUnit,
      width: 8,
      queries: [
        { expr: within("0.025"), legend: "25 ms" },
        { expr: within("0.1"), legend: "100 ms" },
        { expr: within("0.5"), legend: "500 ms" },
      ],
      runbooks: ["StarlingDeliverySlow"],
    }),
    graphPanel({
      title: "Publications delivered, by node",
      description: "Handed to local subscribers, once per publication and node.",
      unit: units.OpsPerSecond,
      width: 12,
      stacked: true,
      queries: [
        { expr: sum(rate(own("starling_publications_delivered_total")), "instance"), legend: "{{instance}}" },
      ],
    }),
    graphPanel({
      title: "Publications without a local subscriber",
      description:
        "Came over the bus and nobody here wanted them: the price of one bus for all. Much of it: more shards " +
        "do not help; fewer, larger nodes do.",
      unit: units.OpsPerSecond,
      width: 12,
      stacked: true,
      queries: [
        { expr: sum(rate(own("starling_publications_unheard_total")), "instance"), legend: "{{instance}}" },
      ],
    }),
  ];
}

export function recovery(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Recovery of those who came back",
      description:
        "Subscribers who gave a position: got all that followed it, or were told that it is not there any more.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(own("starling_recoveries_total"))), legend: "recovered" },
        { expr: sum(rate(own("starling_recoveries_failed_total"))), legend: "not recovered" },
      ],
      runbooks: ["StarlingRecoveriesFailing"],
    }),
    graphPanel({
      title: "Gaps told, a minute",
      description: "Channels whose subscribers on a node were told that something is lost, or may be.",
      unit: units.CountsPerMinute,
      width: 8,
      stacked: true,
      queries: [
        { expr: `60 * ${sum(rate(own("starling_gaps_total")), "instance")}`, legend: "{{instance}}" },
      ],
      runbooks: ["StarlingGaps"],
    }),
    graphPanel({
      title: "History reads and stale publications",
      description:
        "Reads repair holes and serve who comes back. Stale: of an epoch that their channel had left, as " +
        "happens when Redis lost data.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(own("starling_history_reads_total"))), legend: "history reads" },
        { expr: sum(rate(own("starling_publications_stale_total"))), legend: "stale" },
      ],
      runbooks: ["StarlingGaps"],
    }),
  ];
}
