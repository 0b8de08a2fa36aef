import type { ProtocolName, ScenarioName } from "../types.js";
import { appKeyOf } from "./pusher.js";

export interface Asked {
  readonly protocol: ProtocolName;
  readonly urls: readonly string[];
  readonly secret?: string;
  readonly acknowledged: boolean;
  readonly scenarios: readonly ScenarioName[];
}

/** Scenarios that speak what the protocol has not: Starling's server API, its presence query, its channel names. */
const LACKING: Readonly<Partial<Record<ProtocolName, readonly ScenarioName[]>>> = {
  centrifugo: ["http"],
  pusher: ["history", "presence", "http"],
};
const PUBLISHING: readonly ScenarioName[] = ["fanout", "ingest", "bridge"];

/** @returns why this cannot be measured over the protocol, and what to do; undefined where it can */
export function unsuitable({ protocol, urls, secret, acknowledged, scenarios }: Asked): string | undefined {
  const lacking = LACKING[protocol]?.find((name) => scenarios.includes(name));
  if (lacking !== undefined)
    return `the scenario ${lacking} cannot be run over --protocol ${protocol}: leave it out`;
  if (protocol !== "pusher") return undefined;
  const keyless = urls.find((url) => appKeyOf(new URL(url)) === "");
  if (keyless !== undefined)
    return `${keyless} names no app: end it in the app's key, as in ws://127.0.0.1:6001/app/KEY`;
  if (acknowledged)
    return "--protocol pusher has no acknowledgements: leave out --ack, and give --rate for latency";
  const publishing = scenarios.find((name) => PUBLISHING.includes(name));
  if (publishing !== undefined && secret === undefined)
    return `${publishing} publishes client events, in private channels: give the app's secret with --secret or STARLING_BENCH_SECRET`;
  return undefined;
}
