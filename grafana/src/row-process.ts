import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import * as units from "@grafana/grafana-foundation-sdk/units";
import { own, quantile, rate, sum } from "./expressions.js";
import { graphPanel } from "./panel.js";

export function backpressure(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "Slow readers",
      description:
        "Closed: too many bytes waited. Skipped: left out until they drained, then repaired from history. Drops " +
        "reported: the socket server's flag that some frame was dropped, not how many.",
      unit: units.CountsPerSecond,
      width: 12,
      queries: [
        { expr: sum(rate(own("starling_slow_closes_total"))), legend: "closed" },
        { expr: sum(rate(own("starling_slow_skips_total"))), legend: "skipped" },
        { expr: sum(rate(own("starling_drop_reports_total"))), legend: "drops reported" },
      ],
      runbooks: ["StarlingSlowReaders"],
    }),
    graphPanel({
      title: "Senders over their limits",
      description: "Commands refused as too many or too large. One client does it, or a release of one.",
      unit: units.CountsPerSecond,
      width: 12,
      queries: [
        {
          expr: sum(
            rate(own("starling_rejects_total", 'reason=~"rate_limited|overloaded|too_large|channel_limit"')),
            "reason",
          ),
          legend: "{{reason}}",
        },
      ],
    }),
  ];
}

export function processRow(): Builder<Panel>[] {
  return [
    graphPanel({
      title: "CPU",
      description: "Of one core, by node: a node runs on one event loop, so near 100 % it is full.",
      unit: units.PercentUnit,
      width: 8,
      thresholds: { warn: 0.7, bad: 0.9 },
      queries: [{ expr: sum(rate(own("process_cpu_seconds_total")), "instance"), legend: "{{instance}}" }],
      runbooks: ["StarlingEventLoopBlocked"],
    }),
    graphPanel({
      title: "Event loop lag",
      description: "How late timers ran. Everything that a node does waits as long.",
      unit: units.Seconds,
      width: 8,
      thresholds: { warn: 0.05, bad: 0.1 },
      queries: [
        { expr: quantile(0.99, "starling_event_loop_lag_seconds", "instance"), legend: "{{instance}} p99" },
        {
          expr: `max by (instance) (${own("starling_event_loop_lag_max_seconds")})`,
          legend: "{{instance}} longest",
        },
      ],
      runbooks: ["StarlingEventLoopBlocked"],
    }),
    graphPanel({
      title: "Garbage collection",
      description: "Share of time, by kind. Major ones stop the loop.",
      unit: units.PercentUnit,
      width: 8,
      queries: [{ expr: sum(rate(own("nodejs_gc_duration_seconds_sum")), "kind"), legend: "{{kind}}" }],
      runbooks: ["StarlingEventLoopBlocked"],
    }),
    graphPanel({
      title: "Memory",
      description: "Resident, by node. Sockets live outside the JavaScript heap.",
      unit: units.BytesIEC,
      width: 8,
      queries: [{ expr: sum(own("process_resident_memory_bytes"), "instance"), legend: "{{instance}}" }],
    }),
    graphPanel({
      title: "JavaScript heap in use",
      description: "A saw whose lower teeth climb for hours is a leak.",
      unit: units.BytesIEC,
      width: 8,
      queries: [{ expr: sum(own("nodejs_heap_size_used_bytes"), "instance"), legend: "{{instance}}" }],
    }),
    graphPanel({
      title: "File descriptors in use",
      description: "Share of the limit: a connection takes one.",
      unit: units.PercentUnit,
      width: 8,
      thresholds: { warn: 0.8, bad: 0.9 },
      queries: [
        {
          expr: `max by (instance) (${own("process_open_fds")} / ${own("process_max_fds")})`,
          legend: "{{instance}}",
        },
      ],
      runbooks: ["StarlingFileDescriptorsLow"],
    }),
  ];
}
