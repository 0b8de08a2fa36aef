/** envoy.yaml with other addresses: what `npm run cluster`, `npm run stack` and the tests run is what compose runs. */

import { readFile } from "node:fs/promises";
import { parse } from "yaml";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly apiPort: number;
}

interface Place {
  /** An address: Envoy listens at no name. */
  readonly host: string;
  readonly port: number;
}

/** Where Envoy listens. */
export interface EnvoyPlaces {
  readonly clients: Place;
  readonly api: Place;
  readonly metrics: Place;
  readonly admin: Place;
}

type Yaml = Record<string, unknown>;

/** The parts of envoy.yaml that are known here; the rest is passed on as it is. */
export interface EnvoyConfig extends Yaml {
  admin: { address: Address };
  static_resources: { listeners: Listener[]; clusters: Cluster[] };
}

interface Address {
  socket_address: { address: string; port_value: number };
}

interface Listener extends Yaml {
  name: string;
  address: Address;
  filter_chains: { filters: { typed_config: ConnectionManager }[] }[];
}

export interface ConnectionManager extends Yaml {
  stat_prefix: string;
  access_log?: unknown;
}

interface Cluster extends Yaml {
  name: string;
  load_assignment: { endpoints: { lb_endpoints: { endpoint: LbEndpoint }[] }[] };
}

interface LbEndpoint {
  address: Address;
  health_check_config?: { port_value: number };
}

/** In the package it lies where it does in the checkout. */
export const ENVOY_YAML = new URL("../../../envoy.yaml", import.meta.url);

/** @throws Error where envoy.yaml lacks a listener or cluster that is looked for */
export async function localEnvoyConfig(
  nodes: readonly Endpoint[],
  places: EnvoyPlaces,
): Promise<EnvoyConfig> {
  const config = parse(await readFile(ENVOY_YAML, "utf8"), { merge: true }) as EnvoyConfig;
  const addressOf = ({ host, port }: Place): Address => at(host, port);
  config.admin.address = addressOf(places.admin);
  listenerOf(config, "clients").address = addressOf(places.clients);
  listenerOf(config, "api").address = addressOf(places.api);
  listenerOf(config, "metrics").address = addressOf(places.metrics);
  setEndpoints(
    config,
    "nodes",
    nodes.map(({ host, port, apiPort }) => ({
      address: at(host, port),
      health_check_config: { port_value: apiPort },
    })),
  );
  setEndpoints(
    config,
    "api",
    nodes.map(({ host, apiPort }) => ({ address: at(host, apiPort) })),
  );
  setEndpoints(config, "admin", [{ address: addressOf(places.admin) }]);
  return config;
}

/** What a listener does with its connections. */
export function connectionManagerOf(config: EnvoyConfig, listener: string): ConnectionManager {
  return listenerOf(config, listener).filter_chains[0]!.filters[0]!.typed_config;
}

function at(address: string, port: number): Address {
  return { socket_address: { address, port_value: port } };
}

function listenerOf(config: EnvoyConfig, name: string): Listener {
  return named(config.static_resources.listeners, name);
}

export function clusterOf(config: EnvoyConfig, name: string): Cluster {
  return named(config.static_resources.clusters, name);
}

function setEndpoints(config: EnvoyConfig, cluster: string, endpoints: readonly LbEndpoint[]): void {
  clusterOf(config, cluster).load_assignment.endpoints = [
    { lb_endpoints: endpoints.map((endpoint) => ({ endpoint })) },
  ];
}

function named<T extends { name: string }>(list: readonly T[], name: string): T {
  const found = list.find((item) => item.name === name);
  if (found === undefined) throw new Error(`envoy.yaml has no "${name}" where it is looked for`);
  return found;
}
