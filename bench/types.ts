// What the runner, the load generator, the peers and the report share. Keep it free of imports with effects.

/** Servers that the bench can start. Another server is reached with --attach. */
export const PEER_NAMES = [
  /** This node, started by `dist/cli.js serve` as a user would. */
  "starling",
  /** The same node with an app that has a key, spoken to as its Pusher clients and back ends do. */
  "starling-pusher",
  /** uWebSockets.js alone: parses the command, publishes inside its message handler. The ceiling. */
  "raw",
  /** The same, publishing from setImmediate instead of inside the handler. */
  "raw-batched",
  /** uWebSockets.js with as much of the Pusher protocol as client events take, in the bytes that Starling sends. */
  "raw-pusher",
  /** The textbook architecture: ws, JSON, a loop over the clients of a channel, one PUBLISH per message by ioredis. */
  "ws",
  /** The same with each connection's state in Redis, and heartbeats. */
  "ws-state",
  /** Socket.IO 4 on node:http, with @socket.io/redis-adapter where there is a Redis. */
  "socket.io",
  /** Socket.IO 4 attached to uWebSockets.js, with its Redis adapter. */
  "socket.io-uws",
  /** uWebSockets.js topics, and one JSON PUBLISH per message over ioredis: what the batched bridge is measured against. */
  "json-publish",
  /** Centrifugo, where the path of its binary is given. */
  "centrifugo",
  /** Soketi, where the folder that it was installed in is given. */
  "soketi",
] as const;
export type PeerName = (typeof PEER_NAMES)[number];

/**
 * How the generator speaks to a server; bench/protocols has one module for each.
 * - `starling-json`: text frames of PROTOCOL.md. C `{"action":"subscribe","channel":"c","id":1}` is answered by
 *   `{"type":"reply","id":1,"channel":"c"}`; C `{"action":"send","channel":"c","content":"..."}` (with `id` only where
 *   acknowledgements are asked for, then `{"type":"reply","id":1}`) is delivered as
 *   `{"type":"message","channel":"c","content":"...","from":{"connection":"..."}}`.
 *   The server speaks first, with a frame that contains `"type":"welcome"`. Spoken to: starling, raw, ws, ws-state, json-publish.
 * - `starling-msgpack`: the same as MessagePack maps, subprotocol `starling.v1.msgpack`.
 * - `socket.io`: Engine.IO 4 on the websocket transport, default namespace, at /socket.io/. C emits
 *   `subscribe` (channel) with an acknowledgement callback; `publish` (channel, content), with a callback only where
 *   acknowledgements are asked for; the server emits `message` (channel, content) to the room.
 * - `centrifugo`: Centrifuge protocol v2 as JSON, at /connection/websocket. The client speaks first.
 * - `pusher`: Pusher protocol 7 (Soketi, Sockudo, Laravel Reverb), at /app/KEY. Publishes client events, in private
 *   channels that the app's secret opens; without it only public channels are subscribed to. Spoken to: starling-pusher, raw-pusher, soketi.
 */
export const PROTOCOL_NAMES = [
  "starling-json",
  "starling-msgpack",
  "socket.io",
  "centrifugo",
  "pusher",
] as const;
export type ProtocolName = (typeof PROTOCOL_NAMES)[number];

/**
 * What not every peer has, and some scenarios need; `api`: Starling's server API; `events`: Pusher's; `workers`: several
 * processes that share a port; `msgpack`: its protocol in MessagePack too.
 */
export type PeerAbility = "history" | "presence" | "api" | "events" | "workers" | "msgpack";

/** What a scenario needs of the servers; a peer ignores what it does not have. */
export interface PeerFeatures {
  /** Keep history in channels that begin with `history:` (100 publications, 10 minutes, with recovery). */
  readonly history?: boolean;
  /** Track presence in channels that begin with `presence:`. */
  readonly presence?: boolean;
  /** Serve the HTTP API (`apiUrl`), where the peer has one. */
  readonly api?: boolean;
  /** Processes that share the first node's port; 1 where absent. */
  readonly workers?: number;
  /** Write a CPU profile of each node into this folder when it stops. */
  readonly profileFolder?: string;
  /** The Node.js that runs it; absent: the one that runs the bench. */
  readonly nodePath?: string;
  /** Collect garbage when a process of it gets SIGUSR2. */
  readonly collects?: boolean;
  /** Further settings of the peer, by the names that it documents (starling: the flags of `serve`). */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PeerStartOptions {
  /** How many nodes, each a process on a free port of 127.0.0.1. More than one only with a Redis. */
  readonly nodes: number;
  /** The Redis to join the nodes by; absent: each stands alone. */
  readonly redisUrl?: string;
  /** How many cores the processes are bound to once they run; absent: they are not bound. */
  readonly cores?: number;
  readonly features: PeerFeatures;
}

export interface RunningNode {
  /** ws://127.0.0.1:PORT without path: the protocol appends its own. Of Pusher servers with it, as it names the app. */
  readonly url: string;
  /** The process that serves; with workers, the first. Its CPU and memory are read from /proc. */
  readonly pid: number;
  /** Every process of the node (workers), `pid` among them; absent: `pid` alone. */
  readonly pids?: readonly number[];
  /** http://127.0.0.1:PORT of the server API; of Pusher servers http://127.0.0.1:PORT/apps/ID. */
  readonly apiUrl?: string;
  /** URL of the Prometheus page. */
  readonly metricsUrl?: string;
}

export interface RunningPeer {
  readonly nodes: readonly RunningNode[];
  /** Of the app, where the protocol signs subscriptions. */
  readonly secret?: string;
  /** Ends every process and waits until they are gone. Idempotent. */
  stop(): Promise<void>;
}

export interface Peer {
  /** One of PEER_NAMES; behind it "@" and the version of Node, where it runs on several. */
  readonly name: string;
  /** One line for --help and the report: what it is and with which versions. */
  readonly description: string;
  readonly protocol: ProtocolName;
  /** Largest number of nodes it can join; 1: it has no bridge (raw). */
  readonly maxNodes: number;
  /** Features it has, of those that are asked for by scenarios. */
  readonly has: readonly PeerAbility[];
  /** Of the Node that runs it, where that was chosen. */
  readonly nodeVersion?: string;
  /** Of a program from elsewhere: told among the result's versions. */
  readonly version?: string;
  /** Why it cannot be started here, and what to do; absent: it can. */
  readonly unavailable?: string;
  /** Resolves once every node accepts connections. Rejects, having ended what it started, with the output of the node that failed. */
  start(options: PeerStartOptions): Promise<RunningPeer>;
}

export const SCENARIO_NAMES = [
  "connect",
  "fanout",
  "ingest",
  "bridge",
  "history",
  "presence",
  "reconnect",
  "http",
  "idle",
] as const;
export type ScenarioName = (typeof SCENARIO_NAMES)[number];

/** One measured number. */
export interface Figure {
  /** Stable identifier within a scenario, such as `deliveriesPerServerCoreSecond`. */
  readonly name: string;
  /** For people: "deliveries per server core second". */
  readonly label: string;
  /** "1/s", "us", "bytes", "%", "s", "messages", ... */
  readonly unit: string;
  readonly value: number;
  /** Which direction is good; `neither` for context such as a sample count. */
  readonly better: "higher" | "lower" | "neither";
}

/** End-to-end latency, from just before the publisher's write to the subscriber's read. */
export interface LatencySummary {
  readonly count: number;
  /** [percentile 0..100, microseconds], ascending: enough points for a plot. */
  readonly percentiles: readonly (readonly [number, number])[];
  readonly meanUs: number;
  readonly maxUs: number;
}

/** A curve over the time of a run. */
export interface Series {
  readonly name: "deliveries" | "connections" | "serverRssBytes" | "serverCpu" | "clientCpu";
  /** "1/s", "connections", "bytes", "cores". */
  readonly unit: string;
  /** [seconds since the measurement began, value]. */
  readonly points: readonly (readonly [number, number])[];
}

/** CPU use during the measured part of a run. */
export interface CpuUse {
  readonly wallSeconds: number;
  /** CPU seconds of all load processes, all server processes, and Redis. */
  readonly clientSeconds: number;
  readonly serverSeconds: number;
  readonly redisSeconds?: number;
  /** Cores that processes which are no part of the bench took meanwhile. */
  readonly othersCores?: number;
  /** Shares, 0..1: of the core of the busiest process, or of the cores that they share where they are fewer. */
  readonly busiestClient: number;
  readonly busiestServer: number;
}

/** One peer under one scenario, once. */
export interface ScenarioRun {
  readonly scenario: ScenarioName;
  /** The case within the scenario, such as "1 x 1,000" or "2 nodes, fan-out 10, sustained". */
  readonly variant: string;
  /** A PeerName, or what attached servers are called. */
  readonly peer: string;
  readonly protocol: ProtocolName;
  /** From 1; runs of one number were made next to each other in time, so their ratios are comparable. */
  readonly run: number;
  readonly startedAt: string;
  readonly figures: readonly Figure[];
  readonly latency?: LatencySummary;
  readonly series: readonly Series[];
  readonly cpu: CpuUse;
  /** What kept the run from going faster: the generator (over 90 % of a core, servers under 80 %), a server, or neither. */
  readonly limited: "client" | "server" | "none";
  /** What a reader must know before believing it: losses, closes, a client limit. Empty for a clean run. */
  readonly problems: readonly string[];
}

export interface SummaryCell {
  readonly peer: string;
  readonly runs: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Against the reference peer: of the quotients run by run. Absent for the reference, or where it did not run. */
  readonly ratio?: { readonly median: number; readonly min: number; readonly max: number };
  /** In how many of the runs the generator was the limit. */
  readonly clientLimitedRuns: number;
}

/** One figure of one case, for all peers. */
export interface SummaryRow {
  readonly scenario: ScenarioName;
  readonly variant: string;
  readonly figure: Omit<Figure, "value">;
  readonly peers: readonly SummaryCell[];
}

export interface MachineInfo {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly os: string;
  readonly node: string;
  /** How processes were bound to cores, in words. */
  readonly placement: string;
}

/** The whole outcome of a command, as --json writes it and the report reads it. */
export interface BenchResult {
  readonly format: 1;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** The command that reproduces it. */
  readonly command: string;
  readonly machine: MachineInfo;
  /** Versions of what took part, by name: starling, commit, node, redis, uWebSockets.js, ws, socket.io, ... */
  readonly versions: Readonly<Record<string, string>>;
  /** The options in effect. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
  /** The peer that ratios are taken against: ratio = peer / reference. */
  readonly reference: string;
  readonly runs: readonly ScenarioRun[];
  readonly summary: readonly SummaryRow[];
  /** Peers or cases that were not run, and why. */
  readonly skipped: readonly string[];
  /** Paths of the CPU profiles written. */
  readonly profiles: readonly string[];
}

/** Paths of programs that the bench does not bring along. */
export interface PeerPrograms {
  readonly centrifugo?: string;
  readonly soketi?: string;
}

/** bench/peers/index.ts exports `peerByName`; each module is loaded when it is asked for. */
export type PeerByName = (name: PeerName, programs?: PeerPrograms) => Promise<Peer>;

/** bench/report/index.ts exports `writeReport`: one HTML file that opens offline. */
export type WriteReport = (result: BenchResult, path: string) => Promise<void>;
