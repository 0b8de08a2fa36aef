import type { BenchOptions } from "../runner/options.js";
import type { ScenarioName } from "../types.js";
import { bridgeCases } from "./bridge.js";
import type { Case } from "./case.js";
import { connectCases } from "./connect.js";
import { fanoutCases, ingestCases } from "./fanout.js";
import { historyCases } from "./history.js";
import { httpCases } from "./http.js";
import { idleCases } from "./idle.js";
import { presenceCases } from "./presence.js";
import { reconnectCases } from "./reconnect.js";

export interface Scenario {
  readonly description: string;
  /** Whether it runs where no scenario is named. */
  readonly byDefault: boolean;
  readonly cases: (options: BenchOptions) => Case[];
}

export const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  connect: {
    description: "accept + subscribe, and memory per idle connection",
    byDefault: true,
    cases: connectCases,
  },
  fanout: {
    description: "deliveries per server core: 1 channel x 1,000 subscribers, 1,000 channels x 10",
    byDefault: true,
    cases: fanoutCases,
  },
  ingest: {
    description: "one publisher, one subscriber, no acknowledgement",
    byDefault: true,
    cases: ingestCases,
  },
  bridge: {
    description: "two and three nodes over one Redis: latency at a modest rate, highest sustained rate",
    byDefault: true,
    cases: bridgeCases,
  },
  history: {
    description: "what keeping history costs, with against without",
    byDefault: true,
    cases: historyCases,
  },
  presence: {
    description: "what presence costs a join, asking who is there, and joins alone",
    byDefault: true,
    cases: presenceCases,
  },
  reconnect: {
    description: "every connection is cut at once: time until 99 % are back",
    byDefault: true,
    cases: reconnectCases,
  },
  http: {
    description: "the server API: publish, publish-many, and events of Pusher's",
    byDefault: true,
    cases: httpCases,
  },
  idle: {
    description: "many connections held for minutes; give --connections, --minutes, --workers",
    byDefault: false,
    cases: idleCases,
  },
};
