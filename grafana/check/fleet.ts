/** A fleet as Prometheus sees one: Redis, three nodes, Envoy before them, all scraped every second. */

import { startEnvoy } from "../../scripts/stack/envoy.js";
import { nodePlace, type NodePlace } from "../../scripts/stack/node-place.js";
import { startPrometheus } from "../../scripts/stack/prometheus.js";
import { until } from "../../test/support/nodes.js";
import { startRedis, type RedisServer } from "../../test/support/redis-server.js";
import { range } from "./evaluate.js";

export const ORIGIN = "http://app.example";
export const PREFIX = "verify:";
/** Served beside `main`, to Pusher's clients. */
export const PUSHER_APP = {
  id: "shop",
  key: "key-of-shop",
  secret: "secret-of-shop-in-checks",
  maxConnections: 12,
};
const NODES = 3;
const START_MS = 30_000;

export interface Fleet {
  readonly redis: RedisServer;
  readonly nodes: readonly NodePlace[];
  /** Where clients connect: Envoy. */
  readonly wsUrl: string;
  readonly prometheusUrl: string;
  /** Of when every target had been scraped, seconds since 1970. */
  readonly startedAt: number;
  /** Resolves when Prometheus has read every node's metrics as they are now, or later. */
  scraped(): Promise<unknown>;
  stop(): Promise<void>;
}

/** Limits that a little load reaches and times that pass quickly; the metrics do not care. */
const OPTIONS: Readonly<Record<string, string | number>> = {
  origins: ORIGIN,
  "redis-prefix": PREFIX,
  "redis-command-timeout-ms": 500,
  "bus-probe-interval-ms": 250,
  "bus-probe-timeout-ms": 1000,
  "lease-ttl-ms": 3000,
  // Longer than slow readers take to be told so much that they are skipped or closed.
  "heartbeat-interval-ms": 6000,
  "heartbeat-timeout-ms": 5000,
  "upgrade-rate": 40,
  "upgrade-burst": 60,
  "messages-per-second": 100,
  "messages-burst": 200,
  "max-buffered-bytes": 65_536,
  "drain-notice-ms": 500,
  "drain-ms": 2500,
  apps: JSON.stringify([
    {
      id: PUSHER_APP.id,
      keys: [{ key: PUSHER_APP.key, secret: PUSHER_APP.secret }],
      maxConnections: PUSHER_APP.maxConnections,
      pusher: { clientEvents: true },
    },
  ]),
  namespaces: JSON.stringify({
    chat: { historySize: 200, historyTtlMs: 600_000, recovery: true, slowReader: "repair" },
    brief: { historySize: 3, historyTtlMs: 600_000, recovery: true },
  }),
};

/** Of the built command: npm run build first. */
export async function startFleet(): Promise<Fleet> {
  const ends: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const redis = await startRedis();
    ends.push(() => redis.stop());
    const flags = Object.entries(OPTIONS).map(([name, value]) => `--${name}=${value}`);
    const nodes: NodePlace[] = [];
    for (let number = 1; number <= NODES; number++) {
      nodes.push(await nodePlace({ name: `n${number}`, redisUrl: redis.url, flags }));
    }
    ends.push(() => Promise.all(nodes.map((node) => node.end("SIGKILL"))));
    await Promise.all(nodes.map((node) => node.start()));
    const envoy = await startEnvoy({ nodes });
    ends.push(() => envoy.stop());
    await until("every node healthy to Envoy", async () => (await envoy.healthyNodes()) === NODES, START_MS);
    const prometheus = await startPrometheus({
      targets: {
        starling: nodes.map(({ host, apiPort }) => `${host}:${apiPort}`),
        envoy: [new URL(envoy.metricsUrl).host],
      },
      scrapeSeconds: 1,
    });
    ends.push(() => prometheus.stop());
    // It looks at its targets some seconds after it started. The nodes, Envoy, and itself.
    await until(
      "every target scraped",
      async () => (await targetsUp(prometheus.url)) === NODES + 2,
      START_MS,
    );
    return {
      redis,
      nodes,
      wsUrl: envoy.wsUrl,
      prometheusUrl: prometheus.url,
      startedAt: Date.now() / 1000,
      scraped() {
        const nowSeconds = Date.now() / 1000;
        return until(
          "every node scraped",
          async () => (await nodesScrapedSince(prometheus.url, nowSeconds)) === NODES,
          START_MS,
        );
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function targetsUp(prometheusUrl: string): Promise<number> {
  return valueNow(prometheusUrl, "count(up == 1)");
}

/** A node that was started anew has the port of the one before. */
function nodesScrapedSince(prometheusUrl: string, seconds: number): Promise<number> {
  return valueNow(prometheusUrl, `count(count by (instance) (timestamp(starling_connections) > ${seconds}))`);
}

async function valueNow(prometheusUrl: string, expr: string): Promise<number> {
  const now = Date.now() / 1000;
  const series = await range(prometheusUrl, expr, { from: now, to: now, step: 1 });
  return series[0]?.points[0]?.[1] ?? 0;
}
