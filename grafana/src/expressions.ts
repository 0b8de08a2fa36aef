/** PromQL as the panels need it, over what the dashboard's variables choose. */

const OWN = `job=~"$job",instance=~"$node"`;
const ENVOY = `job=~"$envoy"`;
/** Of the clusters that Envoy sends clients to; it also has one for its own statistics. */
const CLUSTER = `${ENVOY},envoy_cluster_name=~"$cluster"`;

const and = (all: string, more: string): string => (more === "" ? all : `${all},${more}`);

/** A series of the nodes. */
export const own = (metric: string, matchers = ""): string => `${metric}{${and(OWN, matchers)}}`;
export const envoy = (metric: string, matchers = ""): string => `${metric}{${and(ENVOY, matchers)}}`;
export const cluster = (metric: string, matchers = ""): string => `${metric}{${and(CLUSTER, matchers)}}`;

/** Per second. */
export const rate = (series: string): string => `rate(${series}[$__rate_interval])`;
export const sum = (expr: string, by = ""): string => `sum${by === "" ? "" : ` by (${by})`} (${expr})`;

/** Of a histogram of the nodes. */
export function quantile(q: number, metric: string, by = "", matchers = ""): string {
  const labels = by === "" ? "le" : `le, ${by}`;
  return `histogram_quantile(${q}, ${sum(rate(own(`${metric}_bucket`, matchers)), labels)})`;
}

/** Of a histogram of the nodes: mean of what was observed. */
export function mean(metric: string, by = ""): string {
  return `${sum(rate(own(`${metric}_sum`)), by)} / ${sum(rate(own(`${metric}_count`)), by)}`;
}

/** Codes of a close that nobody wanted: gone without a word, timed out, too slow, our fault. */
export const UNWANTED_CLOSES = "lost|heartbeat_timeout|slow_reader|overloaded|internal|rate_limited";

/** Upgrades that are refused for want of room or of readiness. */
export const ROOM_REASONS =
  "draining|upgrade_rate|upgrade_rate_ip|node_full|app_full|ip_full|unauthenticated_full|unauthenticated_ip|" +
  "sockets_full|sockets_idle_full|sockets_idle_ip|api_sockets_full";
/** Upgrades that are refused for what they ask. */
export const UPGRADE_REASONS = `${ROOM_REASONS}|upgrade|version|key|origin|protocol|subprotocol|app|app_key|app_disabled`;
/** What a client could do nothing about. */
export const OUR_REASONS = `${ROOM_REASONS}|unavailable|outcome_unknown|overloaded|internal`;
