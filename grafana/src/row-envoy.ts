import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import * as units from "@grafana/grafana-foundation-sdk/units";
import { cluster, envoy, rate, sum } from "./expressions.js";
import { graphPanel } from "./panel.js";

export function envoyRow(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "WebSockets through Envoy",
      description:
        "Open upgrades. Compare with the connections of the nodes: who comes by another way is the rest.",
      unit: units.Short,
      width: 8,
      queries: [
        { expr: sum(envoy("envoy_http_downstream_cx_upgrades_active"), "instance"), legend: "{{instance}}" },
      ],
      runbooks: ["EnvoyDown"],
    }),
    graphPanel({
      title: "Nodes that Envoy finds healthy",
      description:
        "By its own checks of /readyz, against how many there are. Ejected: lost several sockets in a row.",
      unit: units.Short,
      width: 8,
      queries: [
        {
          expr: sum(cluster("envoy_cluster_membership_healthy"), "envoy_cluster_name"),
          legend: "{{envoy_cluster_name}} healthy",
        },
        {
          expr: sum(cluster("envoy_cluster_membership_total"), "envoy_cluster_name"),
          legend: "{{envoy_cluster_name}} all",
        },
        {
          expr: sum(cluster("envoy_cluster_outlier_detection_ejections_active"), "envoy_cluster_name"),
          legend: "{{envoy_cluster_name}} ejected",
        },
      ],
      runbooks: ["EnvoyNodeUnhealthy", "EnvoyNoHealthyNode"],
    }),
    graphPanel({
      title: "Answers by class",
      description:
        "An upgrade that succeeds is a 1xx. 4xx: refused by a node. 5xx: no node was found, or none answered.",
      unit: units.RequestsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        {
          expr: sum(rate(cluster("envoy_cluster_upstream_rq_xx")), "envoy_response_code_class"),
          legend: "from nodes {{envoy_response_code_class}}xx",
        },
        {
          expr: sum(rate(envoy("envoy_http_downstream_rq_xx", 'envoy_response_code_class="5"'))),
          legend: "to clients 5xx",
        },
      ],
      runbooks: ["EnvoyServerErrors"],
    }),
    graphPanel({
      title: "Connects that failed, and were tried elsewhere",
      description:
        "Where a dead node is still tried. One that loses many sockets at once is ejected before that.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(cluster("envoy_cluster_upstream_cx_connect_fail"))), legend: "connect failed" },
        { expr: sum(rate(cluster("envoy_cluster_upstream_rq_retry"))), legend: "retries" },
        {
          expr: sum(rate(cluster("envoy_cluster_upstream_rq_retry_success"))),
          legend: "retries that succeeded",
        },
        {
          expr: sum(rate(cluster("envoy_cluster_upstream_rq_retry_overflow"))),
          legend: "retries over the limit",
        },
        { expr: sum(rate(cluster("envoy_cluster_upstream_rq_timeout"))), legend: "upgrades timed out" },
      ],
      runbooks: ["EnvoyConnectFailures"],
    }),
    graphPanel({
      title: "Limits reached",
      description:
        "Anything but 0 refuses users: circuit breakers of the cluster, and the listener's own limits.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(cluster("envoy_cluster_upstream_cx_overflow"))), legend: "connections" },
        { expr: sum(rate(cluster("envoy_cluster_upstream_rq_pending_overflow"))), legend: "pending" },
        { expr: sum(rate(cluster("envoy_cluster_upstream_cx_none_healthy"))), legend: "no healthy node" },
        {
          expr: sum(rate(envoy("envoy_listener_downstream_global_cx_overflow"))),
          legend: "all connections",
        },
      ],
      runbooks: ["EnvoyCircuitOpen", "EnvoyConnectionLimit", "EnvoyNoHealthyNode"],
    }),
    graphPanel({
      title: "Sockets to the nodes",
      description: "One for each client: the ephemeral ports towards one node's address are their limit.",
      unit: units.Short,
      width: 8,
      queries: [
        {
          expr: sum(cluster("envoy_cluster_upstream_cx_active"), "envoy_cluster_name"),
          legend: "{{envoy_cluster_name}}",
        },
      ],
      runbooks: ["EnvoyCircuitOpen"],
    }),
  ];
}
