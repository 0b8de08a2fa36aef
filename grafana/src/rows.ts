/** The rows under the state of the users, from what users feel down to the machine. */

import type { Builder } from "@grafana/grafana-foundation-sdk/cog";
import type { Panel } from "@grafana/grafana-foundation-sdk/dashboard";
import { bridge } from "./row-bridge.js";
import { delivery, recovery } from "./row-delivery.js";
import { envoyRow } from "./row-envoy.js";
import { fleet, lifeCycle } from "./row-fleet.js";
import { apps, pusher } from "./row-pusher.js";
import { backpressure, processRow } from "./row-process.js";

export interface Row {
  readonly title: string;
  readonly panels: () => Builder<Panel>[];
}

export const ROWS: readonly Row[] = [
  { title: "Fleet", panels: fleet },
  { title: "Connection life cycle", panels: lifeCycle },
  { title: "Delivery latency", panels: delivery },
  { title: "Recovery and gaps", panels: recovery },
  { title: "Bridge to Redis", panels: bridge },
  { title: "Backpressure and limits", panels: backpressure },
  { title: "Apps", panels: apps },
  { title: "Pusher", panels: pusher },
  { title: "Envoy", panels: envoyRow },
  { title: "Process", panels: processRow },
];
