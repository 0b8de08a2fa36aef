/** The composition root: which implementations make a node, and in what order they start and stop. */

import { readFileSync } from "node:fs";
import { createJwtAuthorizer } from "./auth/jwt.js";
import { createOpenAuthorizer } from "./auth/open.js";
import { isLoopback, openFileLimit, socketLimits, type Config } from "./config.js";
import type { Authorizer } from "./core/authorizer.js";
import type { Broker } from "./core/broker.js";
import { DEFAULT_APP } from "./core/channel.js";
import { rulesByNamespace } from "./core/channel-rules.js";
import type { PresenceStore } from "./core/presence.js";
import type { ControlBus } from "./core/control.js";
import { Edge } from "./core/edge.js";
import type { Log } from "./core/log.js";
import { Operations } from "./core/operations.js";
import type { EdgeOptions } from "./core/options.js";
import type { ConnectionRegistry } from "./core/registry.js";
import { Stats } from "./core/stats.js";
import type { Topics } from "./core/transport.js";
import { clientAddress } from "./core/client-address.js";
import { createApi } from "./http/api.js";
import { createSite } from "./http/site.js";
import { createMemoryBroker } from "./memory/broker.js";
import { createMemoryControl } from "./memory/control.js";
import { createMemoryPresence } from "./memory/presence.js";
import { createMemoryRegistry } from "./memory/registry.js";
import { mergeExpositions } from "./metrics/merge.js";
import { createMetrics } from "./metrics/metrics.js";
import { CLOSE_CODES } from "./protocol/errors.js";
import { createRedisBroker } from "./redis/broker.js";
import type { RedisOptions } from "./redis/client.js";
import { createRedisControl } from "./redis/control.js";
import { createRedisLink } from "./redis/link.js";
import { createRedisPresence } from "./redis/presence.js";
import { createRedisRegistry } from "./redis/registry.js";
import { waitForRedis } from "./redis/start-wait.js";
import { oldBinary, thisPlatform } from "./transport/platform.js";
import { checkTlsFiles, type TlsFiles } from "./transport/tls.js";
import { listenHttp, type ConnectionSource, type HttpListener } from "./transport/http.js";
import { listenWebSocket } from "./transport/uws.js";

export interface StarlingNode {
  readonly id: string;
  readonly wsUrl: string;
  readonly apiUrl: string;
  /** undefined: the demo page is off. */
  readonly demoUrl: string | undefined;
  /** Closes the clients over the configured time, then stops. */
  drain(): Promise<void>;
  /** Ends every connection at once and leaves nothing in Redis but sessions to resume. */
  stop(): Promise<void>;
  /** This node's alone, in the Prometheus text format. */
  metrics(): Promise<string>;
}

/** One of several nodes on a machine that share a port, and whose metrics are one scrape. */
export interface WorkerOptions {
  /** From 1. */
  readonly number: number;
  /** Of the clients. */
  readonly sharePort: boolean;
  /** Those of the API's port, which is listened on elsewhere. */
  readonly apiConnections: ConnectionSource;
  /** In the Prometheus text format, each with its own number as label. */
  metricsOfOthers(): Promise<readonly string[]>;
}

export interface StartOptions {
  /**
   * false: holes in channels with history stay, which is how the fault kit shows that its checker
   * finds them.
   */
  readonly repair?: boolean;
  readonly worker?: WorkerOptions;
}

/** Publications that wait for the bus: beyond it publishing fails rather than memory grows. */
const MAX_QUEUED_ITEMS = 100_000;
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
/** How long the nodes' answers to a question are waited for. */
const ASK_TIMEOUT_MS = 1000;
/**
 * A polite error is possible for frames up to this many times the limit; beyond, the socket just ends. Nobody can see
 * what a socket has of an unfinished frame: connections times this many bytes is the most that they can hold.
 */
const HARD_FRAME_FACTOR = 1.25;

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/**
 * Resolves once clients are served and the bus, if any, is up. While Redis is waited for the API listens alone.
 * @throws Error saying what could not be had: a port, Redis, a key, the node's id
 */
export async function startNode(
  config: Config,
  log: Log,
  { repair = true, worker }: StartOptions = {},
): Promise<StarlingNode> {
  // Workers run on one platform.
  const binaryWarning = worker === undefined || worker.number === 1 ? oldBinary(thisPlatform()) : undefined;
  if (binaryWarning !== undefined) log.warn({}, binaryWarning);
  const tls = tlsFiles(config);
  const tlsWarning = tls === undefined ? undefined : checkTlsFiles(tls);
  if (tlsWarning !== undefined) log.warn({}, tlsWarning);
  const stats = new Stats();
  const authorizer = createAuthorizer(config);
  if (!authorizer.required && !isLoopback(config.host)) {
    log.warn(
      { host: config.host },
      "OPEN MODE: anyone who reaches this address may read and send everything",
    );
  }
  const shared =
    config.redis === undefined ? alone(config, stats, log) : inFleet(config, config.redis, stats, log);
  // Topics exist before the listener does: nobody is subscribed until it is there.
  let topics: Topics | undefined;
  let idleSockets = (): number => 0;
  const sockets = socketLimits(config.maxConnections, openFileLimit());
  const edge = new Edge({
    options: { ...edgeOptions(config), repair },
    ...shared,
    rulesOf: rulesByNamespace(config.namespaces),
    authorizer,
    topics: { publish: (topic, frame, binary) => topics?.publish(topic, frame, binary) },
    stats,
    log,
  });
  const metrics = createMetrics({
    stats,
    gauges: {
      channels: () => edge.hub.channels.size,
      ready: () => edge.notReadyReasons().length === 0,
      idleSockets: () => idleSockets(),
      unauthenticated: () => edge.admissions.unauthenticated,
      addresses: () => edge.admissions.addresses,
      ...(config.redis === undefined ? {} : { bridgeUp: () => edge.linkUp }),
    },
    nodeId: config.nodeId,
    version,
    worker: worker?.number,
  });
  const operations = new Operations(edge);
  const api = createApi({
    operations: Object.assign(operations, {
      metrics: async () => ({
        contentType: metrics.contentType,
        text:
          worker === undefined
            ? await metrics.text()
            : mergeExpositions([await metrics.text(), ...(await worker.metricsOfOthers())]),
      }),
    }),
    apiKeys: config.apiKeys,
    metricsPublic: config.metricsPublic,
    maxContentBytes: config.maxFrameBytes,
    maxBodyBytes: MAX_API_BODY_BYTES,
    errors: stats.apiErrors,
    version,
    log,
  });

  const undo: (() => void | Promise<void>)[] = [];
  let apiListener: HttpListener | undefined;
  const openApi = async (): Promise<HttpListener> => {
    if (apiListener !== undefined) return apiListener;
    const opened = await listenHttp({
      host: config.apiHost,
      port: config.apiPort,
      connections: worker?.apiConnections,
      service: api,
      keepAliveMs: config.apiKeepAliveMs,
      maxBodiesBytes: MAX_API_BODIES_BYTES,
      maxSockets: sockets.api,
      refused: () => stats.reject("api_sockets_full"),
    });
    undo.push(() => opened.close());
    return (apiListener = opened);
  };
  try {
    undo.push(() => edge.stop());
    if (config.redis !== undefined) {
      await waitForRedis({
        redis: redisOptions(config, config.redis),
        timeoutMs: config.redisStartTimeoutMs,
        log,
        // Only now: beside workers that serve, one that is about to would answer for all.
        waiting: async (reason) => {
          edge.hold(`waiting for Redis: ${reason}`);
          await openApi();
        },
      });
    }
    await edge.start();
    const listener = await listenWebSocket({
      host: config.host,
      port: config.port,
      sharePort: worker?.sharePort ?? false,
      hardFrameBytes: Math.ceil(config.maxFrameBytes * HARD_FRAME_FACTOR),
      // The frame that goes over it is still taken: an answer is at most a quarter of maxBufferedBytes.
      hardBufferedBytes: Math.floor(config.maxBufferedBytes * 1.75),
      idleTimeoutSeconds: (config.heartbeatIntervalMs + config.heartbeatTimeoutMs * 2) / 1000,
      tls,
      clientAddress: clientAddress({ hops: config.clientAddressHops, proxies: config.trustedProxies }),
      accept: {
        maxSockets: sockets.clients,
        maxIdle: config.maxUnauthenticated === 0 ? Infinity : config.maxUnauthenticated,
        // Behind a proxy the socket's address is the proxy's.
        sharePercent: config.clientAddressHops === 0 ? config.sharePerIpPercent : 100,
      },
      refused: (reason) => stats.reject(reason),
      decide: (request) => edge.admit(request),
      http: createSite({ files: config.demo ? demoFiles() : {} }),
    });
    topics = listener;
    idleSockets = () => listener.idleSockets;
    undo.push(() => listener.close());
    const { port: apiPort } = await openApi();
    edge.hold(undefined);
    const stop = once(async () => {
      listener.stopListening();
      // Sockets are closed with a code before the listener would cut them.
      await edge.stop();
      listener.close();
      await apiListener?.close();
      metrics.close();
    });
    return {
      id: config.nodeId,
      wsUrl: `${tls === undefined ? "ws" : "wss"}://${urlHost(config.host)}:${listener.port}`,
      apiUrl: `http://${urlHost(config.apiHost)}:${apiPort}`,
      demoUrl: config.demo
        ? `${tls === undefined ? "http" : "https"}://${urlHost(config.host)}:${listener.port}/`
        : undefined,
      stop,
      metrics: () => metrics.text(),
      drain: once(async () => {
        await edge.drain();
        await stop();
      }),
    };
  } catch (error) {
    for (const step of undo.reverse()) await step();
    metrics.close();
    throw error;
  }
}

/** publish-many takes many publications of the largest size, but not without bound. */
const MAX_API_BODY_BYTES = 8 * 1024 * 1024;
/** Of all requests that are under way: beyond it they are answered 503. */
const MAX_API_BODIES_BYTES = 64 * 1024 * 1024;

interface Shared {
  readonly broker: Broker;
  readonly control: ControlBus;
  readonly registry: ConnectionRegistry;
  readonly presence: PresenceStore;
}

function alone(config: Config, stats: Stats, log: Log): Shared {
  const { nodeId, sessionTtlMs, messageIdWindowMs, presenceGraceMs } = config;
  return {
    broker: createMemoryBroker({
      maxQueuedItems: MAX_QUEUED_ITEMS,
      maxQueuedBytes: MAX_QUEUED_BYTES,
      messageIdWindowMs,
      emptyMs: emptyMsOf(config),
      stats,
      log,
    }),
    control: createMemoryControl({ nodeId }),
    registry: createMemoryRegistry({ nodeId, sessionTtlMs, stats }),
    presence: createMemoryPresence({ graceMs: presenceGraceMs, stats, log }),
  };
}

/** Longer than a client may be away and still recover, and than two looks at the positions of its channels. */
function emptyMsOf({ sessionTtlMs, positionCheckIntervalMs }: Config): number {
  return sessionTtlMs + 5 * positionCheckIntervalMs;
}

function inFleet(config: Config, url: string, stats: Stats, log: Log): Shared {
  const { nodeId } = config;
  const redis = redisOptions(config, url);
  const link = createRedisLink({
    nodeId,
    redis,
    probeIntervalMs: config.busProbeIntervalMs,
    probeTimeoutMs: config.busProbeTimeoutMs,
    stats,
    log,
  });
  const broker = createRedisBroker({
    link,
    shards: config.busShards,
    batchItems: config.busBatchItems,
    batchBytes: config.busBatchBytes,
    maxQueuedItems: MAX_QUEUED_ITEMS,
    maxQueuedBytes: MAX_QUEUED_BYTES,
    messageIdWindowMs: config.messageIdWindowMs,
    emptyMs: emptyMsOf(config),
    envelopeVersion: config.busEnvelopeVersion,
    ingest:
      config.ingestChannel === undefined
        ? undefined
        : { channel: config.ingestChannel, app: DEFAULT_APP, maxBytes: config.maxFrameBytes },
    stats,
    log,
  });
  const registry = createRedisRegistry({
    nodeId,
    redis,
    sessionTtlMs: config.sessionTtlMs,
    leaseTtlMs: config.leaseTtlMs,
    stats,
    log,
    notifySuperseded: (_nodeId, connection) => {
      const { code } = CLOSE_CODES.superseded;
      const target = { connection };
      control
        .command({ kind: "disconnect", app: DEFAULT_APP, target, code, reason: "superseded" })
        // That node also finds out by itself when it refreshes its sessions.
        .catch((error: unknown) =>
          log.warn({ err: error, connection }, "a superseded connection was not told"),
        );
    },
  });
  const control = createRedisControl({
    link,
    askTimeoutMs: ASK_TIMEOUT_MS,
    nodes: () => registry.nodes(),
    stats,
    log,
  });
  const presence = createRedisPresence({
    nodeId,
    link,
    ttlMs: config.presenceTtlMs,
    graceMs: config.presenceGraceMs,
    shards: config.busShards,
    stats,
    log,
  });
  return { broker, control, registry, presence };
}

function redisOptions(config: Config, url: string): RedisOptions {
  return {
    url,
    prefix: config.redisPrefix,
    commandTimeoutMs: config.redisCommandTimeoutMs,
    sentinelPassword: config.redisSentinelPassword,
    tls: {
      ca: readOptional(config, "redisTlsCaFile"),
      cert: readOptional(config, "redisTlsCertFile"),
      key: readOptional(config, "redisTlsKeyFile"),
      serverName: config.redisTlsServerName,
    },
  };
}

function tlsFiles(config: Config): TlsFiles | undefined {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsKeyPassphrase: passphrase } = config;
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile, passphrase };
}

function readOptional(
  config: Config,
  option: "redisTlsCaFile" | "redisTlsCertFile" | "redisTlsKeyFile" | "jwtPublicKeyFile",
): string | undefined {
  const path = config[option];
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`${option} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  // A key for tokens may be a JWK too.
  if (option !== "jwtPublicKeyFile" && !text.includes("-----BEGIN "))
    throw new Error(`${option} is no PEM file: ${path}`);
  return text;
}

function createAuthorizer(config: Config): Authorizer {
  const {
    jwtAlgorithm,
    jwtSecret,
    jwtPublicKeyFile,
    jwtJwksUrl,
    jwtAudience,
    jwtIssuer,
    jwtClockToleranceMs,
  } = config;
  if (jwtSecret === undefined && jwtPublicKeyFile === undefined && jwtJwksUrl === undefined) {
    return createOpenAuthorizer();
  }
  return createJwtAuthorizer({
    algorithm: jwtAlgorithm,
    secret: jwtSecret,
    publicKey: readOptional(config, "jwtPublicKeyFile"),
    jwksUrl: jwtJwksUrl,
    audience: jwtAudience,
    issuer: jwtIssuer,
    clockToleranceSeconds: jwtClockToleranceMs / 1000,
  });
}

function edgeOptions(config: Config): Omit<EdgeOptions, "repair"> {
  const { messagesPerSecond, messagesBurst, bytesPerSecond, bytesBurst } = config;
  return {
    ...config,
    rate: { messagesPerSecond, messagesBurst, bytesPerSecond, bytesBurst },
    registerTimeoutMs: config.redisCommandTimeoutMs,
  };
}

function demoFiles(): Record<string, URL> {
  const file = (path: string): URL => new URL(path, import.meta.url);
  return {
    "/": file("./demo/index.html"),
    "/demo.css": file("./demo/demo.css"),
    "/demo.js": file("./demo/demo.js"),
    "/icon.svg": file("./demo/icon.svg"),
    "/starling.js": file("./browser/starling.js"),
  };
}

/** An address that a client on this machine can use: 0.0.0.0 is every address and none. */
function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}

function once(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => (running ??= action());
}
