import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import * as units from "@grafana/grafana-foundation-sdk/units";
import { own, rate, sum, UPGRADE_REASONS } from "./expressions.js";
import { graphPanel } from "./panel.js";

export function fleet(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Connections by node",
      description:
        "Even shares are good. A node's share that falls at once was lost; one that slopes, drained.",
      unit: units.Short,
      width: 8,
      stacked: true,
      queries: [{ expr: sum(own("starling_connections"), "instance"), legend: "{{instance}}" }],
      runbooks: ["StarlingNodeDown"],
    }),
    graphPanel({
      title: "Ready and draining",
      description: "1: takes newcomers. A node that is not ready and does not drain cannot do its work.",
      unit: units.Short,
      width: 8,
      steps: true,
      queries: [
        { expr: `min by (instance) (${own("starling_ready")})`, legend: "{{instance}} ready" },
        { expr: `max by (instance) (${own("starling_draining")})`, legend: "{{instance}} draining" },
      ],
      runbooks: ["StarlingNodeNotReady", "StarlingDrainStuck"],
    }),
    graphPanel({
      title: "Subscriptions and channels",
      description:
        "Subscriptions of all connections, and channels with subscribers: one that two nodes have counts twice.",
      unit: units.Short,
      width: 8,
      queries: [
        { expr: sum(own("starling_subscriptions")), legend: "subscriptions" },
        { expr: sum(own("starling_channels")), legend: "channels" },
        { expr: sum(own("starling_registry_size")), legend: "connections in the registry" },
      ],
    }),
    graphPanel({
      title: "Nodes by version",
      description: "Two at once belong to an upgrade. For long they are a deployment that stopped halfway.",
      unit: units.Short,
      width: 8,
      steps: false,
      queries: [{ expr: `count by (version) (${own("starling_info")})`, legend: "{{version}}" }],
    }),
    graphPanel({
      title: "Messages from and to clients",
      description: "Frames a second by encoding; to clients: one per receiver.",
      unit: units.MessagesPerSecond,
      width: 8,
      queries: [
        {
          expr: sum(rate(own("starling_messages_in_total")), "protocol, codec"),
          legend: "in {{protocol}} {{codec}}",
        },
        {
          expr: sum(rate(own("starling_messages_out_total")), "protocol, codec"),
          legend: "out {{protocol}} {{codec}}",
        },
      ],
    }),
    graphPanel({
      title: "Bytes from and to clients",
      description: "Of frames a second, without WebSocket and TCP heads; to clients: one per receiver.",
      unit: units.BytesPerSecondIEC,
      width: 8,
      queries: [
        {
          expr: sum(rate(own("starling_bytes_in_total")), "protocol, codec"),
          legend: "in {{protocol}} {{codec}}",
        },
        {
          expr: sum(rate(own("starling_bytes_out_total")), "protocol, codec"),
          legend: "out {{protocol}} {{codec}}",
        },
      ],
    }),
  ];
}

export function lifeCycle(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Opened and closed",
      description:
        "Connections a second. Both high for long: clients that come and go without getting anywhere.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(own("starling_connects_total"))), legend: "opened" },
        { expr: sum(rate(own("starling_disconnects_total"))), legend: "closed" },
      ],
      runbooks: ["StarlingConnectionsLost"],
    }),
    graphPanel({
      title: "Closes by reason",
      description:
        "client: it closed. lost: gone without a close frame. restart: drained. superseded: resumed elsewhere. " +
        "internal: our fault. disconnected, app_disabled, app_removed, token_invalid: must not come back. The others: a limit, said by its name.",
      unit: units.CountsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        { expr: `${sum(rate(own("starling_disconnects_total")), "reason")} > 0`, legend: "{{reason}}" },
      ],
      runbooks: ["StarlingConnectionsLost"],
    }),
    graphPanel({
      title: "Upgrades refused, by reason",
      description:
        "upgrade, version, key, origin, protocol, subprotocol, app, app_key and app_disabled: what was asked for is " +
        "not served here. The others: no room, the client comes back.",
      unit: units.CountsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        {
          expr: sum(rate(own("starling_rejects_total", `reason=~"${UPGRADE_REASONS}"`)), "reason"),
          legend: "{{reason}}",
        },
      ],
      runbooks: ["StarlingUpgradesRefused"],
    }),
    graphPanel({
      title: "Commands and API requests refused, by error code",
      description:
        "unavailable, outcome_unknown, overloaded and internal are ours; the others are a client's mistake, or its limit.",
      unit: units.CountsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        {
          expr: `${sum(rate(own("starling_rejects_total", `reason!~"${UPGRADE_REASONS}"`)), "reason")} > 0`,
          legend: "{{reason}}",
        },
        { expr: `${sum(rate(own("starling_api_errors_total")), "code")} > 0`, legend: "API: {{code}}" },
      ],
      runbooks: ["StarlingPublicationsFailing"],
    }),
    graphPanel({
      title: "Sessions resumed, drained, taken over",
      description:
        "Resumed: came back with subscriptions and position. Drained: sent to another node. Superseded: " +
        "closed as another connection resumed the session.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(own("starling_sessions_resumed_total"))), legend: "resumed" },
        { expr: sum(rate(own("starling_drained_total"))), legend: "drained" },
        { expr: sum(rate(own("starling_sessions_superseded_total"))), legend: "superseded" },
      ],
      runbooks: ["StarlingDrainStuck"],
    }),
    graphPanel({
      title: "Heartbeats missed and faults of our own",
      description: "A fault ended a session and is in that node's log with its stack: a bug.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(own("starling_heartbeat_timeouts_total"))), legend: "heartbeat missed" },
        { expr: sum(rate(own("starling_session_faults_total"))), legend: "session fault" },
      ],
      runbooks: ["StarlingSessionFaults", "StarlingConnectionsLost"],
    }),
  ];
}
