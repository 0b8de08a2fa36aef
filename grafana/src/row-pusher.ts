import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import * as units from "@grafana/grafana-foundation-sdk/units";
import { own, quantile, rate, sum } from "./expressions.js";
import { graphPanel } from "./panel.js";

const PUSHER = 'protocol="pusher"';
const PUSHER_API = 'api="pusher"';
const SIGNATURES = "starling_app_signatures_total";

export function apps(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Connections by app",
      description:
        "Open ones, on all nodes. A hundred apps have their own names, the others are called other.",
      unit: units.Short,
      width: 8,
      stacked: true,
      queries: [{ expr: sum(own("starling_app_connections"), "app"), legend: "{{app}}" }],
      runbooks: ["StarlingAppFull"],
    }),
    graphPanel({
      title: "Subscriptions by app",
      description: "Of open connections, on all nodes: what an app takes of the nodes' memory.",
      unit: units.Short,
      width: 8,
      stacked: true,
      queries: [{ expr: sum(own("starling_app_subscriptions"), "app"), legend: "{{app}}" }],
    }),
    graphPanel({
      title: "Refusals by app",
      description:
        "app_full: over the app's maxConnections. app_disabled, origin: as its settings say. client_event: one that is " +
        "not allowed as it is. client_event_rate: too many of them.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        {
          expr: `${sum(rate(own("starling_app_refusals_total")), "app, reason")} > 0`,
          legend: "{{app}} {{reason}}",
        },
      ],
      runbooks: ["StarlingAppFull"],
    }),
    graphPanel({
      title: "Publications by app",
      description:
        "client: by its clients, client events among them. api: by its back ends, over either HTTP API.",
      unit: units.OpsPerSecond,
      width: 8,
      queries: [
        {
          expr: sum(rate(own("starling_app_publications_total")), "app, source"),
          legend: "{{app}} {{source}}",
        },
      ],
    }),
    graphPanel({
      title: "Deliveries by app",
      description:
        "Publications handed to an app's subscribers, one per receiver: most of what a node does for it.",
      unit: units.MessagesPerSecond,
      width: 8,
      stacked: true,
      queries: [{ expr: sum(rate(own("starling_app_deliveries_total")), "app"), legend: "{{app}}" }],
    }),
    graphPanel({
      title: "Requests of back ends, by API and route",
      description: "Of the server API and of Pusher's. unknown: a path or method that the API does not have.",
      unit: units.RequestsPerSecond,
      width: 8,
      queries: [
        {
          expr: `${sum(rate(own("starling_api_requests_total")), "api, route")} > 0`,
          legend: "{{api}} {{route}}",
        },
      ],
    }),
  ];
}

export function pusher(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Connections by protocol",
      description: "Open ones, on all nodes. How far a move from or to Pusher's clients has come.",
      unit: units.Short,
      width: 8,
      stacked: true,
      queries: [{ expr: sum(own("starling_protocol_connections"), "protocol"), legend: "{{protocol}}" }],
    }),
    graphPanel({
      title: "Subscriptions by protocol",
      description: "Of open connections, on all nodes.",
      unit: units.Short,
      width: 8,
      stacked: true,
      queries: [{ expr: sum(own("starling_protocol_subscriptions"), "protocol"), legend: "{{protocol}}" }],
    }),
    graphPanel({
      title: "Frames from and to Pusher's clients",
      description:
        "Frames a second; to clients: one per receiver. Client events are among those from clients.",
      unit: units.MessagesPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(own("starling_messages_in_total", PUSHER))), legend: "in" },
        { expr: sum(rate(own("starling_messages_out_total", PUSHER))), legend: "out" },
      ],
    }),
    graphPanel({
      title: "Signatures refused, by app",
      description:
        "Share of subscriptions, sign-ins and requests whose signature was missing, wrong or out of date. All of one app: " +
        "its secret was changed on one side only. Some: a back end whose clock is off, or somebody who tries.",
      unit: units.PercentUnit,
      width: 8,
      thresholds: { warn: 0.05, bad: 0.2 },
      queries: [
        {
          expr: `${sum(rate(own(SIGNATURES, 'result="refused"')), "app")} / ${sum(rate(own(SIGNATURES)), "app")}`,
          legend: "{{app}}",
        },
      ],
      runbooks: ["StarlingSignaturesRefused"],
    }),
    graphPanel({
      title: "Keys of no app, client events refused",
      description:
        "An upgrade with a key that no app has is answered with 4001, and the client stays away: was a key removed that " +
        "pages still have? Client events are refused with 4301: too many, too large, or not enabled.",
      unit: units.CountsPerSecond,
      width: 8,
      queries: [
        { expr: sum(rate(own("starling_rejects_total", 'reason="app_key"'))), legend: "key of no app" },
        {
          expr: sum(
            rate(own("starling_app_refusals_total", 'reason=~"client_event|client_event_rate"')),
            "reason",
          ),
          legend: "{{reason}}",
        },
      ],
      runbooks: ["StarlingSignaturesRefused"],
    }),
    graphPanel({
      title: "Closes of Pusher's clients, by reason",
      description:
        "As above for all protocols. token_invalid: a sign-in was refused. connect_timeout: the client proved nothing in time. " +
        "disconnected: terminated by the application.",
      unit: units.CountsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        {
          expr: `${sum(rate(own("starling_disconnects_total", PUSHER)), "reason")} > 0`,
          legend: "{{reason}}",
        },
      ],
      runbooks: ["StarlingConnectionsLost"],
    }),
    graphPanel({
      title: "Answers of Pusher's API, by status",
      description:
        "200 is all that is well. 400, 404, 405, 413: what was asked. 401: its signature or clock. 403: the app is disabled. " +
        "429, 500, 503, 504: ours, and SDKs do not all try again.",
      unit: units.RequestsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        {
          expr: `${sum(rate(own("starling_api_requests_total", PUSHER_API)), "status")} > 0`,
          legend: "{{status}}",
        },
      ],
      runbooks: ["StarlingSignaturesRefused", "StarlingPublicationsFailing"],
    }),
    graphPanel({
      title: "Answers of Pusher's API, p99 by route",
      description:
        "From the request's head to its answer: how long a back end waits for the node. Events wait for the bus, " +
        "questions for all nodes.",
      unit: units.Seconds,
      width: 8,
      thresholds: { warn: 0.1, bad: 0.5 },
      queries: [
        {
          // NaN, where nothing was asked, is dropped by the comparison.
          expr: `${quantile(0.99, "starling_api_request_seconds", "route", PUSHER_API)} >= 0`,
          legend: "{{route}}",
        },
      ],
      runbooks: ["StarlingBridgeSlow", "StarlingEventLoopBlocked"],
    }),
    graphPanel({
      title: "Joins of presence channels",
      description:
        "Subscriptions a second that made a connection a member, of all protocols. Each costs Redis a script, and in " +
        "large channels every member is told.",
      unit: units.CountsPerSecond,
      width: 8,
      stacked: true,
      queries: [
        { expr: sum(rate(own("starling_presence_joins_total")), "instance"), legend: "{{instance}}" },
      ],
    }),
  ];
}
