/**
 * Every option of a node, declared once: flags, environment variables, the
 * config file, help and docs/configuration.md are all made from this table.
 */

import { randomInt } from "node:crypto";
import {
  flag,
  host,
  integer,
  list,
  oneOf,
  optional,
  originList,
  redisUrl,
  text,
  wrongNetwork,
} from "./kinds.js";
import { DEFAULT_APP } from "../core/app.js";
import { apiKeys, appId, pairKey, pairSecret, tokenOptions } from "./app-options.js";
import { apps, isSecretOfApps } from "./apps.js";
import { reservedFiles } from "./descriptors.js";
import { namespaces, rules, type Namespaces } from "./namespaces.js";
import { option } from "./option.js";
import { isSecretOfPusher, pusher, pusherDefaults } from "./pusher.js";

const BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz";
const randomNodeId = (): string =>
  `n-${Array.from({ length: 6 }, () => BASE36.charAt(randomInt(36))).join("")}`;

const DAY_MS = 86_400_000;
const MIB = 1_048_576;
const DEFAULT_MAX_CONNECTIONS = 100_000;

/** What the demo page's rooms do. */
const DEMO_NAMESPACES: Namespaces = {
  chat: {
    history: { size: 100, ttlMs: 600_000, bytes: rules.historyBytes.default },
    recovery: true,
    presence: true,
    joinLeave: true,
    publish: "anyone",
    replayLast: false,
    slowReader: "repair",
  },
};

export const options = {
  host: option({
    kind: host,
    group: "Listening",
    default: "127.0.0.1",
    description: "address that clients connect to; 0.0.0.0 for all",
    reason: "a node that was just tried out is not open to the network",
  }),
  port: option({
    kind: integer(0, 65_535),
    group: "Listening",
    default: 8000,
    description: "port for WebSockets and the demo page; 0 takes any free one",
    reason: "the port of the examples, above those that need privileges",
  }),
  apiHost: option({
    kind: host,
    group: "Listening",
    default: "127.0.0.1",
    description: "address of the server API, health and metrics",
    reason: "whoever reaches the API can disconnect anyone: only this machine",
  }),
  apiPort: option({
    kind: integer(0, 65_535),
    group: "Listening",
    default: 8001,
    description: "port of the server API, health and metrics; 0 takes any free one",
    reason: "a port of its own, so that a proxy for clients never shows the API",
  }),
  apiKeepAliveMs: option({
    kind: integer(1000, 3_600_000),
    group: "Listening",
    default: 75_000,
    unit: "ms",
    description: "how long a connection to the server API may be idle between requests",
    reason:
      "longer than the 60 s of common load balancers: a connection that the node ends first is a 502 there",
  }),
  origins: option({
    kind: originList,
    group: "Listening",
    default: [],
    defaultText: "any",
    description:
      "origins that browsers may connect from; https://*.example.com is every subdomain, however deep, and not example.com itself; empty allows any",
    reason: "identity is a token, never a cookie, so another site's page gains nothing",
  }),
  originRequired: option({
    kind: flag(),
    group: "Listening",
    default: false,
    description: "refuse clients that send no Origin header, which browsers always do",
    reason: "native apps and servers send none, and could send any",
  }),
  tlsCertFile: option({
    kind: optional(text("the path of a file", (value) => value.length > 0, "<path>")),
    group: "Listening",
    default: undefined,
    defaultText: "none: ws:// and http://",
    description:
      "PEM file of the certificate, its chain behind it, for wss:// and https:// on `port`; read at the start",
    reason: "most put TLS before the node, at the load balancer",
  }),
  tlsKeyFile: option({
    kind: optional(text("the path of a file", (value) => value.length > 0, "<path>")),
    group: "Listening",
    default: undefined,
    defaultText: "none",
    description: "PEM file of the key of that certificate",
    reason: "goes with the certificate",
  }),
  tlsKeyPassphrase: option({
    kind: optional(text()),
    group: "Listening",
    default: undefined,
    defaultText: "none",
    description: "passphrase of that key",
    reason: "keys of servers mostly have none",
    secret: "value",
  }),
  clientAddressHops: option({
    kind: integer(0, 16),
    group: "Listening",
    default: 0,
    defaultText: "0: the socket's own address",
    description:
      "proxies before this node that each add an address to X-Forwarded-For: the client's is the first of so many last ones",
    reason: "the header is the client's own word where no proxy writes it",
  }),
  trustedProxies: option({
    kind: list("addresses and networks (10.0.0.0/8)", wrongNetwork),
    group: "Listening",
    default: [],
    defaultText: "any peer",
    description: "with clientAddressHops: whose X-Forwarded-For is believed; empty believes whoever connects",
    reason: "a node behind a proxy is mostly reached by it alone",
  }),

  nodeId: option({
    kind: text("1 to 64 of A-Z a-z 0-9 _ -", (value) => /^[A-Za-z0-9_-]{1,64}$/.test(value), "<id>"),
    group: "Redis and the fleet",
    default: randomNodeId,
    defaultText: "random",
    description: "this node's id, unique in the fleet",
    reason: "a random id cannot meet the entry of a node that died under the same name",
  }),
  redis: option({
    kind: optional(redisUrl()),
    group: "Redis and the fleet",
    default: undefined,
    defaultText: "none: one node, in memory",
    description: "Redis that joins the nodes of a fleet: one server, Sentinels or a Cluster (docs/redis.md)",
    reason: "one node needs no Redis",
    secret: "password",
  }),
  redisSentinelPassword: option({
    kind: optional(text()),
    group: "Redis and the fleet",
    default: undefined,
    defaultText: "none",
    description: "password of the Sentinels themselves; the URL's is that of the Redis they watch",
    reason: "Sentinels mostly have none",
    secret: "value",
  }),
  redisTlsCaFile: option({
    kind: optional(text("the path of a file", (value) => value.length > 0, "<path>")),
    group: "Redis and the fleet",
    default: undefined,
    defaultText: "the public authorities",
    description: "PEM file of whoever signed the certificate of Redis; with rediss",
    reason: "a certificate that nobody vouches for is refused",
  }),
  redisTlsCertFile: option({
    kind: optional(text("the path of a file", (value) => value.length > 0, "<path>")),
    group: "Redis and the fleet",
    default: undefined,
    defaultText: "none",
    description: "PEM file of this node's own certificate, for a Redis that asks for one",
    reason: "Redis asks only with tls-auth-clients yes, and then it is needed",
  }),
  redisTlsKeyFile: option({
    kind: optional(text("the path of a file", (value) => value.length > 0, "<path>")),
    group: "Redis and the fleet",
    default: undefined,
    defaultText: "none",
    description: "PEM file of the key of that certificate",
    reason: "goes with the certificate",
  }),
  redisTlsServerName: option({
    kind: optional(host),
    group: "Redis and the fleet",
    default: undefined,
    defaultText: "the URL's host",
    description: "name that the certificate of Redis is for, where it is reached by another",
    reason: "nodes of a Cluster and masters named by Sentinels are reached by address",
  }),
  redisPrefix: option({
    kind: text("1 to 64 printable characters without spaces or braces", (value) =>
      /^[!-z|~]{1,64}$/.test(value),
    ),
    group: "Redis and the fleet",
    default: "ws:",
    description: "what every Redis key and channel of the fleet begins with",
    reason: "readers of ws:connections:{nodeId} find it where they expect it",
  }),
  redisCommandTimeoutMs: option({
    kind: integer(50, 60_000),
    group: "Redis and the fleet",
    default: 2000,
    unit: "ms",
    description: "how long an answer of Redis is waited for; a publish then fails as outcome_unknown",
    reason: "a publisher hears within two seconds that Redis is unreachable",
  }),
  redisStartTimeoutMs: option({
    kind: integer(0, DAY_MS),
    group: "Redis and the fleet",
    default: 60_000,
    unit: "ms",
    description:
      "how long a node that starts waits for a Redis that cannot be reached or is not ready; then it ends with 1. 0: as long as it takes, 1: not at all",
    reason: "containers start in any order; what stays wrong is seen by whoever started it",
  }),
  busShards: option({
    kind: integer(1, 64),
    group: "Redis and the fleet",
    default: 1,
    description: "Redis channels that publications are spread over; one number for the whole fleet",
    reason: "measured: on one Redis more shards only make the batches smaller",
  }),
  busBatchItems: option({
    kind: integer(1, 100_000),
    group: "Redis and the fleet",
    default: 1000,
    unit: "messages",
    description: "most publications in one batch to Redis; at most 256 of channels that keep history",
    reason: "larger batches measured no faster and hold the event loop longer",
  }),
  busBatchBytes: option({
    kind: integer(1024, 8 * MIB),
    group: "Redis and the fleet",
    default: 262_144,
    unit: "bytes",
    description: "a batch to Redis is sent once it holds this much",
    reason: "far below what Redis lets a slow subscriber buffer",
  }),
  busProbeIntervalMs: option({
    kind: integer(50, 600_000),
    group: "Redis and the fleet",
    default: 5000,
    unit: "ms",
    description: "how often a probe goes through Redis and back",
    reason: "with its time-out, a half-open link is found within ten seconds",
  }),
  busProbeTimeoutMs: option({
    kind: integer(50, 600_000),
    group: "Redis and the fleet",
    default: 5000,
    unit: "ms",
    description: "a probe that takes longer means that the link is down",
    reason: "longer than a Redis that is merely busy takes",
  }),
  ingestChannel: option({
    kind: optional(text()),
    group: "Redis and the fleet",
    default: undefined,
    defaultText: "none",
    description: 'Redis channel from which {"channel":...,"message":...} lines are published, at most once',
    reason: "whoever can write to Redis could publish: only where it is asked for",
  }),
  leaseTtlMs: option({
    kind: integer(100, 600_000),
    group: "Redis and the fleet",
    default: 10_000,
    unit: "ms",
    description: "a node that is not heard of for this long is dead; survivors clear its state",
    reason: "outlasts a pause of the process or a failover of Redis, and ghosts are gone in seconds",
  }),

  heartbeatIntervalMs: option({
    // Interval and time-out together stay below the 960 s that uWebSockets.js can time.
    kind: integer(100, 450_000),
    group: "Heartbeats and sessions",
    default: 30_000,
    unit: "ms",
    description: "how often each connection is pinged",
    reason: "below the 60 s after which common proxies cut an idle connection",
  }),
  heartbeatTimeoutMs: option({
    kind: integer(50, 450_000),
    group: "Heartbeats and sessions",
    default: 10_000,
    unit: "ms",
    description: "a ping unanswered for this long closes the connection",
    reason: "longer than a phone takes to change networks",
  }),
  sessionTtlMs: option({
    kind: integer(100, DAY_MS),
    group: "Heartbeats and sessions",
    default: 120_000,
    unit: "ms",
    description: "how long the session of a lost connection can be resumed",
    reason: "covers a restart of a node and four steps of the client's backoff",
  }),
  connectTimeoutMs: option({
    kind: integer(100, 600_000),
    group: "Heartbeats and sessions",
    default: 15_000,
    unit: "ms",
    description: "a client that must authenticate and has not by then is closed",
    reason: "time for a token to be fetched over a slow network",
  }),

  namespaces: option({
    kind: namespaces,
    group: "Channels",
    default: ({ production }) => (production ? {} : DEMO_NAMESPACES),
    defaultText:
      "chat, as the demo uses it: historySize 100, historyTtlMs 600000, recovery, presence, joinLeave, slowReader repair; none where NODE_ENV=production",
    description:
      "what channels keep and tell, by namespace: what stands before a channel's first colon; or by a prefix of their names, as private-chat-*; replaces the default whole",
    reason: "the demo shows what there is; in production an application says what it needs",
  }),
  messageIdWindowMs: option({
    kind: integer(100, DAY_MS),
    group: "Channels",
    default: 120_000,
    unit: "ms",
    description: "how long a repeated publication with the same messageId is taken as the first one",
    reason: "as long as a session can be resumed: who repeats later has started anew",
  }),
  positionCheckIntervalMs: option({
    kind: integer(50, 600_000),
    group: "Channels",
    default: 3000,
    unit: "ms",
    description: "how often the node compares where its channels with history stand with what the bus has",
    reason: "a loss that nothing else shows, such as FLUSHALL, is found within five seconds",
  }),
  presenceTtlMs: option({
    kind: integer(100, DAY_MS),
    group: "Channels",
    default: 60_000,
    unit: "ms",
    description: "a member of a channel that is not refreshed for this long is gone",
    reason: "bounds how long a ghost can last where a whole fleet died; refreshing costs two writes a minute",
  }),
  presenceGraceMs: option({
    kind: integer(0, 600_000),
    group: "Channels",
    default: 3000,
    unit: "ms",
    description: "how long a user's last connection may be gone before the user has left",
    reason: "a reload or a quick reconnect does not show as leaving and joining",
  }),

  maxConnections: option({
    kind: integer(1, 10_000_000),
    group: "Limits",
    default: ({ fileLimit = Infinity }) =>
      Math.max(1, Math.min(DEFAULT_MAX_CONNECTIONS, fileLimit - reservedFiles(fileLimit))),
    defaultText: `${DEFAULT_MAX_CONNECTIONS}, or what the process's file limit leaves`,
    unit: "connections",
    description: "most connections on this node",
    reason: "about 100 MB of sockets, and refused by name rather than for want of descriptors",
  }),
  maxConnectionsPerIp: option({
    kind: integer(0, 10_000_000),
    group: "Limits",
    default: 0,
    defaultText: "0: no limit",
    unit: "connections",
    description: "most connections from one address; 0 sets no limit",
    reason: "behind a proxy all clients share one address, unless clientAddressHops tells theirs",
  }),
  upgradeRate: option({
    kind: integer(0, 1_000_000),
    group: "Limits",
    default: 5000,
    unit: "connections/s",
    description:
      "new connections accepted per second, sustained; others get 429 and come back; 0 sets no limit",
    reason:
      "under a third of the 17,500 a second that the slowest machine measured took: a storm leaves room for those who are connected",
  }),
  upgradeBurst: option({
    kind: integer(1, 10_000_000),
    group: "Limits",
    default: 10_000,
    unit: "connections",
    description: "new connections accepted at once",
    reason: "two seconds of the sustained rate",
  }),
  maxUnauthenticated: option({
    kind: integer(0, 10_000_000),
    group: "Limits",
    default: 10_000,
    unit: "connections",
    description:
      "most connections that have yet to authenticate, and most sockets that have yet to ask for a WebSocket; 0 sets no limit",
    reason:
      "two seconds of the sustained rate of newcomers: who comes while it is full pushes out the connection that has waited longest",
  }),
  sharePerIpPercent: option({
    kind: integer(1, 100),
    group: "Limits",
    default: 10,
    unit: "percent",
    description:
      "of upgradeRate, upgradeBurst and maxUnauthenticated, what one address (IPv4, or /64 of IPv6) may use once half of the burst or of the places is used up; 100 sets no share",
    reason:
      "one address cannot lock the others out, and may use all while nobody else asks, so that a proxy's single address is not locked out either",
  }),
  maxFrameBytes: option({
    kind: integer(128, 64 * MIB),
    group: "Limits",
    default: 65_536,
    unit: "bytes",
    description: "largest frame a client may send",
    reason: "messages are small; files belong elsewhere",
  }),
  maxChannelsPerConnection: option({
    kind: integer(1, 100_000),
    group: "Limits",
    default: 100,
    unit: "channels",
    description: "most channels that one connection may be subscribed to",
    reason: "bounds what one client costs to restore and to list",
  }),
  maxChannelNameBytes: option({
    kind: integer(255, 10_000_000),
    group: "Limits",
    default: 8192,
    unit: "bytes",
    description: "most bytes that the names of one connection's channels may have together",
    reason: "bounds what a session costs in Redis, live or waiting to be resumed: 100 names of 80 characters",
  }),
  messagesPerSecond: option({
    kind: integer(1, 1_000_000),
    group: "Limits",
    default: 500,
    unit: "messages/s",
    description: "frames that one connection may send, sustained",
    reason: "ten times what a fast game client sends",
  }),
  messagesBurst: option({
    kind: integer(1, 10_000_000),
    group: "Limits",
    default: 1000,
    unit: "messages",
    description: "frames that one connection may send at once",
    reason: "two seconds of the sustained rate",
  }),
  bytesPerSecond: option({
    kind: integer(128, 1024 * MIB),
    group: "Limits",
    default: MIB,
    unit: "bytes/s",
    description: "bytes that one connection may send, sustained",
    reason: "one connection cannot fill a 100 Mbit/s link",
  }),
  bytesBurst: option({
    kind: integer(128, 1024 * MIB),
    group: "Limits",
    default: 2 * MIB,
    unit: "bytes",
    description: "bytes that one connection may send at once",
    reason: "two seconds of the sustained rate",
  }),
  maxPendingFrames: option({
    kind: integer(1, 100_000),
    group: "Limits",
    default: 256,
    unit: "frames",
    description: "frames of a connection that may wait while its rights are being checked",
    reason: "a client may subscribe to all its channels right behind its token",
  }),
  maxPendingBytes: option({
    kind: integer(128, 64 * MIB),
    group: "Limits",
    default: 262_144,
    unit: "bytes",
    description: "bytes of the frames that may wait while a connection's rights are being checked",
    reason: "four frames of the largest size",
  }),
  maxBufferedBytes: option({
    kind: integer(1024, 1024 * MIB),
    group: "Limits",
    default: MIB,
    unit: "bytes",
    description: "bytes that may wait for a slow reader before it is closed; twice as many are never held",
    reason: "seconds of a busy channel; a hundred slow readers cost 100 MB",
  }),

  ...tokenOptions,
  allowOpen: option({
    kind: flag(),
    group: "Who may connect",
    default: false,
    description:
      "let clients in without tokens where NODE_ENV=production too, if there is no key for tokens; or run without API keys on a public apiHost",
    reason: "a forgotten key must not open a production fleet",
  }),

  apps: option({
    kind: apps,
    group: "Apps",
    default: [],
    defaultText: "none: all clients are those of the app main",
    description:
      "other applications on this node, apart from each other; the options at the top level are those of the app main (docs/apps.md)",
    reason: "most nodes serve one application",
    secret: isSecretOfApps,
  }),
  appId: option({
    kind: appId,
    group: "Apps",
    default: DEFAULT_APP,
    description: "id of the app that `appKey` and `appSecret` are of: `main`, or one more app that this adds",
    reason: "Starling's own clients and Pusher's meet in the channels of one app",
  }),
  appKey: option({
    kind: optional(pairKey),
    group: "Apps",
    default: undefined,
    defaultText: "none",
    description:
      "key by which Pusher's clients and back ends name that app; `starling app create` makes one, with its secret",
    reason: "without a key nothing of Pusher is served",
  }),
  appSecret: option({
    kind: optional(pairSecret),
    group: "Apps",
    default: undefined,
    defaultText: "none",
    description: "secret that Pusher's back ends sign with",
    reason: "goes with the key",
    secret: "value",
  }),
  pusher: option({
    kind: pusher,
    group: "Apps",
    default: pusherDefaults,
    defaultText: "Pusher's own limits, without client events",
    description:
      "limits and features of the Pusher clients and back ends of the app main and of that of `appId`",
    reason: "what Pusher's users are used to",
    secret: isSecretOfPusher,
  }),
  pusherPath: option({
    kind: text(
      "a path as /realtime, which begins with / and does not end with /",
      (value) => /^(?:\/[\w.~-]+)*$/.test(value),
      "<path>",
    ),
    group: "Apps",
    default: "",
    defaultText: "none",
    description:
      "what stands before /app and /apps in the paths of Pusher's clients and back ends, of all apps; a proxy may take it off",
    reason: "what Pusher has",
  }),

  apiKeys,
  metricsPublic: option({
    kind: flag(),
    group: "Server API and metrics",
    default: false,
    description: "serve /metrics without an API key",
    reason: "metrics tell how many users an application has",
  }),

  workers: option({
    kind: integer(1, 128),
    group: "Running",
    default: 1,
    description: "nodes on this machine, a process each, that share the ports; more than 1 needs Redis",
    reason: "one node uses one core, which is plenty for most",
  }),
  portPerWorker: option({
    kind: flag(),
    group: "Running",
    default: false,
    description:
      "a port for each worker, from `port` on, for a load balancer that hashes; the API's stays shared",
    reason: "clients that need no load balancer are spread by the kernel",
  }),
  drainNoticeMs: option({
    kind: integer(0, 600_000),
    group: "Running",
    default: 2000,
    unit: "ms",
    description:
      "on SIGTERM, how long /readyz says 503 before the first client is sent away; skipped where no other node is ready",
    reason: "two health checks of a second each",
  }),
  drainMs: option({
    kind: integer(0, 3_600_000),
    group: "Running",
    default: 10_000,
    unit: "ms",
    description:
      "then, the time over which clients are sent away, in random slices; less where there are few, up to twice that for Pusher's clients, where the other nodes take fewer of them in it",
    reason: "spreads the reconnects; with the notice, within the 30 s that orchestrators give",
  }),
  warmUpMs: option({
    kind: integer(0, 500),
    group: "Running",
    default: 500,
    unit: "ms",
    description:
      "how long a node at most talks to itself over the loopback before it is ready, so that its first clients find compiled code; 0: not at all",
    reason: "by then V8 has compiled what a connection runs first; longer gains little more",
  }),
  youngGenerationBytes: option({
    kind: integer(MIB, 64 * MIB),
    group: "Running",
    default: 4 * MIB,
    unit: "bytes",
    description:
      "size of each half of V8's young generation, of each worker, rounded up to a power of two MiB; `starling serve` sets it, a node in a program of your own keeps the program's",
    reason: "measured: larger ones take memory that is not given back, and two nodes pass on less",
  }),
  demo: option({
    kind: flag(),
    group: "Running",
    default: ({ production }) => !production,
    defaultText: "true; false where NODE_ENV=production",
    description:
      "serve the demo page at / and, on a node that opens nothing by it, that of pusher-js (docs/pusher.md)",
    reason: "something to look at on the first start, nothing extra in production",
  }),
  logLevel: option({
    kind: oneOf(["debug", "info", "warn", "error", "silent"]),
    group: "Running",
    default: "info",
    description: "least severity that is logged",
    reason:
      "a line for each thing that an operator acts on, none per message; debug has one for each refusal too, at most 20 a second",
  }),
  logFormat: option({
    kind: oneOf(["auto", "json", "pretty"]),
    group: "Running",
    default: "auto",
    description: "auto: pretty on a terminal, JSON elsewhere",
    reason: "people read terminals, machines read the rest",
  }),
};
