/** The composition root: what makes a node, and in what order it starts and stops. */

import { readFileSync } from "node:fs";
import { isLoopback, isProduction, OPEN_MODE, openFileLimit, socketLimits, type Config } from "./config.js";
import { Apps } from "./core/app.js";
import { reloadApps } from "./core/app-reload.js";
import { Edge } from "./core/edge.js";
import type { Log } from "./core/log.js";
import { Operations } from "./core/operations.js";
import type { Protocol } from "./core/protocol.js";
import { Stats } from "./core/stats.js";
import type { Topics } from "./core/transport.js";
import { clientAddress } from "./core/client-address.js";
import { createApi } from "./http/api.js";
import { createPusherApi } from "./http/pusher/api.js";
import { createPusherDemo } from "./http/pusher/demo.js";
import { createSite } from "./http/site.js";
import { collectGarbage } from "./heap.js";
import { mergeExpositions } from "./metrics/merge.js";
import { createMetrics } from "./metrics/metrics.js";
import { AppLoader, type AppChanges } from "./node-apps.js";
import { createDemo } from "./node-demo.js";
import { alone, edgeOptions, type Shared } from "./node-parts.js";
import { createProtocols } from "./protocols/protocols.js";
import { oldBinary, thisPlatform } from "./transport/platform.js";
import { checkTlsFiles, type TlsFiles } from "./transport/tls.js";
import { listenHttp, type ConnectionSource, type HttpListener } from "./transport/http.js";
import { listenWebSocket } from "./transport/uws.js";
import { urlHost } from "./url-host.js";
import { warmUp } from "./warm-up.js";

export interface StarlingNode {
  readonly id: string;
  readonly wsUrl: string;
  readonly apiUrl: string;
  /** undefined: the demo page is off. */
  readonly demoUrl: string | undefined;
  /** Of the demo page that pusher-js runs in. undefined: it is off. */
  readonly pusherDemoUrl: string | undefined;
  /** Closes the clients over the configured time, then stops. */
  drain(): Promise<void>;
  /** Ends every connection at once and leaves nothing in Redis but sessions to resume. */
  stop(): Promise<void>;
  /** This node's alone, in the Prometheus text format. */
  metrics(): Promise<string>;
  /**
   * Takes over what this configuration says of apps, `main` among them, and nothing else of it. Resolves once it holds
   * and the connections of apps that are gone or disabled are closed. One that was called later holds later.
   * @throws Error where a key cannot be read or is none, or Redis refuses its user what the apps newly need: nothing
   * was changed
   */
  reload(config: Config): Promise<ReloadedApps>;
}

export interface ReloadedApps extends AppChanges {
  /** Connections of apps that were removed or disabled. */
  readonly closed: number;
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
  /** The process is there for this node: the garbage of its start is collected before there are clients. */
  readonly ownsProcess?: boolean;
  /** In the order in which they are offered an upgrade. */
  readonly protocols?: readonly Protocol[];
}

/**
 * A polite error is possible for frames up to this many times the limit; beyond, the socket just ends. Nobody can see
 * what a socket has of an unfinished frame: connections times this many bytes is the most that they can hold.
 */
const HARD_FRAME_FACTOR = 1.25;
const APPS_LOGGED_MAX = 100;

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
  { repair = true, worker, ownsProcess = false, protocols = createProtocols(config) }: StartOptions = {},
): Promise<StarlingNode> {
  // Workers run on one platform.
  const binaryWarning = worker === undefined || worker.number === 1 ? oldBinary(thisPlatform()) : undefined;
  if (binaryWarning !== undefined) log.warn({}, binaryWarning);
  const tls = tlsFiles(config);
  const tlsWarning = tls === undefined ? undefined : checkTlsFiles(tls);
  if (tlsWarning !== undefined) log.warn({}, tlsWarning);
  const stats = new Stats();
  const demo = createDemo(config, { production: isProduction() });
  const loader = new AppLoader({ production: isProduction() });
  const loaded = loader.load(demo.withPair(config));
  loaded.accept();
  const apps = new Apps(loaded.settings);
  const warnOfOpen = (newlyOpen: readonly string[]): void => {
    for (const app of newlyOpen) {
      log.warn({ host: config.host, ...(app === apps.main.id ? {} : { app }) }, OPEN_MODE);
    }
  };
  const ids = Array.from(apps, ({ id }) => id);
  if (ids.length > 1) log.info({ apps: ids.slice(0, APPS_LOGGED_MAX), count: ids.length }, "serving apps");
  // A node that was just tried out is open, and only this machine reaches it.
  if (!isLoopback(config.host)) warnOfOpen(loaded.newlyOpen);
  // Topics exist before the listener does: nobody is subscribed until it is there.
  let topics: Topics | undefined;
  let idleSockets = (): number => 0;
  const site = createSite({
    ...{ files: demo.files, absent: demo.absent, apiPort: config.apiPort },
    pusherPath: config.pusherPath,
    explain: (request, origin) =>
      edge.admissions.explain({
        ...{ method: request.method, path: request.path, query: request.query },
        ...{ origin, address: "" },
        ...{ subprotocols: [], allSubprotocols: [], upgrade: "", version: "", key: "" },
      }),
  });
  const sockets = socketLimits(config.maxConnections, openFileLimit());
  const { reachable, prepareFor, ...shared } = await sharedParts(config, stats, log);
  let prepared = Promise.resolve();
  const options = { ...edgeOptions(config), repair };
  const edge = new Edge({
    options,
    ...shared,
    protocols,
    apps,
    topics: { publish: (topic, frame, binary) => topics?.publish(topic, frame, binary) },
    stats,
    log,
  });
  // What it does to the event loop is over before that is measured.
  await warmUp({ protocols, edge: options, limitMs: config.warmUpMs, log });
  if (ownsProcess) collectGarbage();
  const metrics = createMetrics({
    stats,
    gauges: {
      channels: () => edge.hub.channels.size,
      ready: () => edge.notReadyReasons().length === 0,
      idleSockets: () => idleSockets(),
      unauthenticated: () => edge.admissions.unauthenticated,
      addresses: () => edge.admissions.addresses,
      apps: () => apps,
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
    apiKeys: loaded.apiKeys,
    metricsPublic: config.metricsPublic,
    maxContentBytes: config.maxFrameBytes,
    maxBodyBytes: MAX_API_BODY_BYTES,
    clientsPort: config.port,
    stats,
    version,
    log,
  });
  const pusherApi = createPusherApi({
    operations,
    apps,
    pathPrefix: config.pusherPath,
    maxBodyBytes: MAX_API_BODY_BYTES,
    stats,
    log,
    logRefusal: edge.logRefusal,
  });

  const pusherDemo =
    demo.pair && createPusherDemo({ operations, apps, pair: demo.pair, pathPrefix: config.pusherPath, log });

  const undo: (() => void | Promise<void>)[] = [];
  let apiListener: HttpListener | undefined;
  const openApi = async (): Promise<HttpListener> => {
    if (apiListener !== undefined) return apiListener;
    const opened = await listenHttp({
      host: config.apiHost,
      port: config.apiPort,
      connections: worker?.apiConnections,
      service: { ...api, handle: (request) => pusherApi(request) ?? api.handle(request) },
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
    await reachable?.(async (reason) => {
      edge.hold(`waiting for Redis: ${reason}`);
      // Only now: beside workers that serve, one that is about to would answer for all.
      await openApi();
    });
    await edge.start();
    const listener = await listenWebSocket({
      host: config.host,
      port: config.port,
      sharePort: worker?.sharePort ?? false,
      hardFrameBytes: Math.ceil(config.maxFrameBytes * HARD_FRAME_FACTOR),
      // The frame that goes over it is still taken: an answer is at most a quarter of maxBufferedBytes.
      hardBufferedBytes: Math.floor(config.maxBufferedBytes * 1.75),
      // Who sent a frame right after a beat is not asked for one at the next, where a protocol asks the silent alone.
      idleTimeoutSeconds: ((config.heartbeatIntervalMs + config.heartbeatTimeoutMs) * 2) / 1000,
      tls,
      clientAddress: clientAddress({ hops: config.clientAddressHops, proxies: config.trustedProxies }),
      accept: {
        maxSockets: sockets.clients,
        maxIdle: config.maxUnauthenticated === 0 ? Infinity : config.maxUnauthenticated,
        // Behind a proxy the socket's address is the proxy's.
        sharePercent: config.clientAddressHops === 0 ? config.sharePerIpPercent : 100,
      },
      refused: (reason) => {
        stats.reject(reason);
        edge.logRefusal("a socket of the clients' port was ended", () => ({ reason }));
      },
      decide: (request) => edge.admit(request),
      http: (request) => {
        const answer = pusherApi(request) ?? pusherDemo?.(request);
        if (answer !== undefined) return answer;
        for (const { http } of protocols) {
          const response = http?.(request, edge);
          if (response !== undefined) return response;
        }
        return site(request);
      },
    });
    topics = listener;
    idleSockets = () => listener.idleSockets;
    undo.push(() => listener.close());
    const { port: apiPort } = await openApi();
    edge.hold(undefined);
    const siteUrl = `${tls === undefined ? "http" : "https"}://${urlHost(config.host)}:${listener.port}/`;
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
      demoUrl: config.demo ? siteUrl : undefined,
      pusherDemoUrl: demo.pair && `${siteUrl}pusher`,
      stop,
      metrics: () => metrics.text(),
      async reload(again) {
        // One after the other: the last one is what holds in the end.
        prepared = prepared.catch(() => undefined).then(() => prepareFor?.(again));
        await prepared;
        const { settings, apiKeys, changes, newlyOpen, accept } = loader.load(demo.withPair(again));
        api.useKeys(apiKeys);
        const closed = reloadApps(edge, settings);
        accept();
        warnOfOpen(newlyOpen);
        return { ...changes, closed: await closed };
      },
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

function tlsFiles(config: Config): TlsFiles | undefined {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsKeyPassphrase: passphrase } = config;
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile, passphrase };
}

async function sharedParts(config: Config, stats: Stats, log: Log): Promise<Shared> {
  if (config.redis === undefined) return alone(config, stats, log);
  // Its client takes 14 MB.
  const { inFleet } = await import("./node-fleet.js");
  return inFleet(config, config.redis, stats, log);
}

function once(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => (running ??= action());
}
