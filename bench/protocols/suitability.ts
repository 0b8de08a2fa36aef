import type { ProtocolName, ScenarioName } from "../types.js";
import { appKeyOf } from "./pusher.js";

export interface Asked {
  readonly protocol: ProtocolName;
  readonly urls: readonly string[];
  readonly secret?: string;
  readonly acknowledged: boolean;
  readonly scenarios: readonly ScenarioName[];
}

/** Scenarios that speak what the protocol has not: a server API, history. */
const LACKING: Readonly<Partial<Record<ProtocolName, readonly ScenarioName[]>>> = {
  centrifugo: ["http"],
  pusher: ["history"],
};
const PUBLISHING: readonly ScenarioName[] = ["fanout", "ingest", "bridge"];
/** Why Pusher's servers want a signature for what the scenario does. */
const SIGNED: Readonly<Partial<Record<ScenarioName, string>>> = {
  ...Object.fromEntries(
    PUBLISHING.map((name) => [name, "publishes client events, in private channels"] as const),
  ),
  presence: "joins presence channels",
  http: "signs its requests",
};

/** Whether it publishes over the protocol, and asks for acknowledgements that the protocol has not. */
export function lacksAcknowledgements(protocol: ProtocolName, scenario: ScenarioName): boolean {
  return protocol === "pusher" && PUBLISHING.includes(scenario);
}

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
  const signed = scenarios.find((name) => SIGNED[name] !== undefined);
  if (signed !== undefined && secret === undefined)
    return `${signed} ${SIGNED[signed]}: give the app's secret with --secret or STARLING_BENCH_SECRET`;
  return undefined;
}
