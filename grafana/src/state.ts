/** The top row: read from left to right, it answers within ten seconds whether users are well. */

import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import * as units from "@grafana/grafana-foundation-sdk/units";
import { OUR_REASONS, own, quantile, rate, sum, UNWANTED_CLOSES } from "./expressions.js";
import { statPanel } from "./panel.js";

const WIDTH = 3;

export function stateOfUsers(): Builder<Panel>[] {
  return [
    statPanel({
      title: "Alerts firing",
      description: "Of this dashboard's rules. Each has a runbook behind the link above.",
      unit: units.Short,
      width: WIDTH,
      queries: [
        {
          // No alert is no series: 0 is the truth, as long as Prometheus answers.
          expr: 'count(ALERTS{alertstate="firing",alertname=~"Starling.*|Envoy.*"}) or vector(0)',
          legend: "firing",
        },
      ],
      thresholds: { bad: 1 },
      texts: { "0": "none" },
    }),
    statPanel({
      title: "Nodes not ready",
      description:
        "Nodes that Prometheus knows and that take no clients: dead, draining, or without their bus. " +
        "One at a time during a rolling restart is as it should be.",
      unit: units.Short,
      width: WIDTH,
      queries: [
        {
          expr:
            `count(${own("up")}) - ` +
            // A dead node has no such series: none at all means that none is ready.
            `(${sum(`min by (job, instance) (${own("starling_ready")})`)} or vector(0))`,
          legend: "not ready",
        },
      ],
      thresholds: { warn: 1, bad: 2 },
      texts: { "0": "none" },
      runbooks: ["StarlingNodeDown", "StarlingNodeNotReady", "StarlingFleetDegraded"],
    }),
    statPanel({
      title: "Bus",
      description: "Whether every node reaches Redis both ways. Down: what users send is refused.",
      unit: units.NoUnit,
      width: WIDTH,
      queries: [{ expr: `min(${own("starling_bridge_up")})`, legend: "bus" }],
      thresholds: { bad: 1, lowIsBad: true },
      texts: { "0": "DOWN", "1": "up" },
      noValue: "no bus",
      runbooks: ["StarlingBridgeDown"],
    }),
    statPanel({
      title: "Connections",
      description:
        "Users who are connected now, on all nodes. A step down that no deployment explains is bad.",
      unit: units.Short,
      width: WIDTH,
      queries: [{ expr: sum(own("starling_connections")), legend: "connections" }],
    }),
    statPanel({
      title: "Delivery p99",
      description:
        "From publishing on one node to handing over to the sockets of another: 99 of 100 publications are " +
        "faster. It does not see the users' own networks, and clocks of nodes that differ shift it.",
      unit: units.Seconds,
      width: WIDTH,
      queries: [
        // NaN, where nothing was delivered, is dropped by the comparison.
        { expr: `${quantile(0.99, "starling_publish_to_deliver_seconds")} >= 0`, legend: "p99" },
      ],
      thresholds: { warn: 0.1, bad: 0.5 },
      noValue: "no traffic",
      runbooks: ["StarlingDeliverySlow"],
    }),
    statPanel({
      title: "Losses told, a minute",
      description:
        "Channels whose subscribers were told that something is lost or may be, and subscribers who came " +
        "back too late for the history. Each is a hole in what a user sees.",
      unit: units.CountsPerMinute,
      width: WIDTH,
      decimals: 1,
      queries: [
        {
          expr: `60 * (${sum(rate(own("starling_gaps_total")))} + ${sum(rate(own("starling_recoveries_failed_total")))})`,
          legend: "losses",
        },
      ],
      thresholds: { warn: 0.1, bad: 10 },
      runbooks: ["StarlingGaps", "StarlingRecoveriesFailing"],
    }),
    statPanel({
      title: "Refusals, a second",
      description:
        "Upgrades and commands that were refused for our reasons, not the client's: no room, draining, " +
        "the bus away, overload, faults.",
      unit: units.CountsPerSecond,
      width: WIDTH,
      decimals: 1,
      queries: [
        { expr: sum(rate(own("starling_rejects_total", `reason=~"${OUR_REASONS}"`))), legend: "refusals" },
      ],
      thresholds: { warn: 0.1, bad: 5 },
      runbooks: ["StarlingUpgradesRefused", "StarlingPublicationsFailing"],
    }),
    statPanel({
      title: "Connections lost, a second",
      description:
        "Closed in a way that nobody wanted: gone without a close frame, no answer to a ping, read too " +
        "slowly, or a fault of ours. Phones that change networks are always among them.",
      unit: units.CountsPerSecond,
      width: WIDTH,
      decimals: 1,
      queries: [
        {
          expr: sum(rate(own("starling_disconnects_total", `reason=~"${UNWANTED_CLOSES}"`))),
          legend: "lost",
        },
      ],
      thresholds: { warn: 10, bad: 100 },
      runbooks: ["StarlingConnectionsLost"],
    }),
  ];
}
