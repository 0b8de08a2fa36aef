/** A little load and one of each fault, so that the rarer series have something to show. */

import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { msgpack } from "../../src/client/codec-msgpack.js";
import { connect, StarlingError, type Client } from "../../src/client/index.js";
import { until } from "../../test/support/eventually.js";
import { RawClient, type Frame } from "../../test/support/raw-client.js";
import { ORIGIN, PREFIX, type Fleet } from "./fleet.js";
import { startPusherLoad } from "./pusher-load.js";

export interface LoadOptions {
  /** How long each phase lasts. */
  readonly phaseMs: number;
  readonly clients: number;
  readonly report: (phase: string) => void;
}

class OriginSocket extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols, { origin: ORIGIN });
  }
}

const CHANNELS = 10;
const PUBLISH_INTERVAL_MS = 25;
/** Beyond what the kernel keeps for a loopback socket, some megabytes. */
const BULK_PUBLICATIONS_MAX = 400;
/** After so many it is looked whether it is enough: nobody shall be closed by a heartbeat meanwhile. */
const BULK_LOOK_EVERY = 20;
const BULK_BYTES = 50_000;
const STORM_SOCKETS = 250;
const STORMS_MAX = 5;
/** For what a node does after a heartbeat's time, on a machine that does other things too. */
const SEEN_MS = 30_000;

export interface Loaded {
  /** Of publishers, by code: some are meant. */
  readonly failures: ReadonlyMap<string, number>;
  /** Before the clients left: seconds since 1970. */
  readonly endedAt: number;
}

export async function runLoad(fleet: Fleet, options: LoadOptions): Promise<Loaded> {
  const failures = new Map<string, number>();
  const crowd = Array.from({ length: options.clients }, (_, i) => member(fleet, i));
  const publishing = setInterval(() => {
    const turn = Math.floor(Math.random() * crowd.length);
    for (const namespace of ["chat", "room"]) {
      crowd[turn]!.publish(`${namespace}:${turn % CHANNELS}`, { at: Date.now() }).catch((error: unknown) => {
        const code = error instanceof StarlingError ? error.code : String(error);
        failures.set(code, (failures.get(code) ?? 0) + 1);
      });
    }
  }, PUBLISH_INTERVAL_MS);
  const pusher = startPusherLoad(fleet);
  const phases: Readonly<Record<string, () => Promise<unknown>>> = {
    calm: () => Promise.resolve(),
    "clients that make mistakes": () => mistakes(fleet),
    "Pusher's clients and back ends that make mistakes": () => pusher.mistakes(() => fleet.scraped()),
    "a storm of newcomers": () => storm(fleet),
    "slow readers, and one that answers no ping": () => slowReaders(fleet),
    "one node drained and started again": () => restart(fleet, 1, "SIGTERM"),
    "one node killed and started again": () => restart(fleet, 2, "SIGKILL"),
    "Redis killed, and back without its data": () => redisAway(fleet),
    "garbage on the bus": () => fleet.redis.client().publish(`${PREFIX}bus:0`, "no envelope"),
    "who comes back too late": () => tooLate(fleet),
    "calm again": () => Promise.resolve(),
  };
  try {
    for (const [name, phase] of Object.entries(phases)) {
      options.report(name);
      await Promise.all([phase(), delay(options.phaseMs)]);
      await fleet.scraped();
    }
    return { failures, endedAt: Date.now() / 1000 };
  } finally {
    clearInterval(publishing);
    pusher.stop();
    for (const client of crowd) client.close();
  }
}

function member(fleet: Fleet, index: number): Client {
  const client = connect(fleet.wsUrl, {
    WebSocket: OriginSocket,
    key: `room-${index % CHANNELS}`,
    backoff: { baseMs: 200, capMs: 2000 },
    ...(index % 3 === 0 ? { codec: msgpack } : {}),
  });
  const ignore = (): undefined => undefined;
  for (const namespace of ["chat", "room"]) client.subscribe(`${namespace}:${index % CHANNELS}`, ignore);
  return client;
}

const raw = (fleet: Fleet, node = 0): Promise<RawClient & { welcome: Frame }> =>
  RawClient.welcomed(fleet.nodes[node]!.wsUrl, { origin: ORIGIN });

async function mistakes(fleet: Fleet): Promise<void> {
  const { host, apiPort } = fleet.nodes[0]!;
  const publish = (): Promise<Response> => fetch(`http://${host}:${apiPort}/v1/publish`, { method: "POST" });
  await publish();
  // A rate is told between two readings of a series that is there.
  await fleet.scraped();
  await publish();
  const client = await raw(fleet);
  client.sendText("nonsense");
  await client.ask("subscribe", { channel: "a b" });
  for (let i = 0; i < 400; i++) client.send({ action: "ping", id: i });
  await counted(fleet, 'starling_rejects_total{reason="rate_limited"}');
  client.terminate();
  await refused(fleet.wsUrl, { origin: "http://evil.example" });
  await refused(fleet.wsUrl, { origin: ORIGIN }, "soap");
  const first = await raw(fleet);
  // A session without channels is not kept; with one it is in Redis some moments later.
  await first.do("subscribe", { channel: "chat:0" });
  await until("resumed", async () => {
    const second = await raw(fleet);
    const { resumed } = await second.do("connect", { resume: first.welcome["resume"] as string });
    return resumed === true;
  });
}

/** Again where this machine was too slow for it to be one. */
async function storm(fleet: Fleet): Promise<void> {
  for (let storms = 0, refusals = 0; refusals === 0; storms++) {
    if (storms === STORMS_MAX) throw new Error(`nobody was refused in ${STORMS_MAX} storms`);
    const sockets = Array.from({ length: STORM_SOCKETS }, () => new OriginSocket(fleet.nodes[0]!.wsUrl));
    const isIn = await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<boolean>((resolve) => {
            socket.once("open", () => resolve(true));
            socket.on("error", () => resolve(false));
          }),
      ),
    );
    refusals = isIn.filter((each) => !each).length;
    for (const socket of sockets) socket.terminate();
  }
}

async function slowReaders(fleet: Fleet): Promise<void> {
  const node = fleet.nodes[0]!;
  const readers = await Promise.all(
    ["chat:bulk", "bulk"].map(async (channel) => {
      const socket = new OriginSocket(node.wsUrl);
      await once(socket, "message");
      socket.send(JSON.stringify({ action: "subscribe", id: 1, channel }));
      await once(socket, "message");
      socket.pause();
      return socket;
    }),
  );
  const deaf = new OriginSocket(node.wsUrl);
  deaf.on("error", () => undefined);
  deaf.once("message", () => deaf.pause());
  const content = "x".repeat(BULK_BYTES);
  const publications = ["chat:bulk", "bulk"].map((channel) => ({ channel, content }));
  const wanted = ["starling_slow_skips_total", "starling_slow_closes_total"];
  for (let count = 1; count <= BULK_PUBLICATIONS_MAX; count++) {
    await publishMany(node.apiUrl, publications);
    if (count % BULK_LOOK_EVERY === 0 && (await hasCounted(fleet, wanted))) break;
  }
  readers[0]!.resume();
  await counted(fleet, "starling_heartbeat_timeouts_total");
  for (const socket of [...readers, deaf]) socket.terminate();
}

async function publishMany(apiUrl: string, publications: readonly object[]): Promise<void> {
  const response = await fetch(`${apiUrl}/v1/publish-many`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ publications }),
  });
  if (!response.ok) throw new Error(`POST /v1/publish-many: ${response.status} ${await response.text()}`);
  await response.body?.cancel();
}

async function restart(fleet: Fleet, index: number, signal: NodeJS.Signals): Promise<void> {
  await fleet.nodes[index]!.end(signal);
  await fleet.nodes[index]!.start();
}

async function redisAway(fleet: Fleet): Promise<void> {
  await fleet.redis.kill();
  await readyIs(fleet, false);
  await fleet.scraped();
  await fleet.redis.restart();
  await readyIs(fleet, true);
}

async function readyIs(fleet: Fleet, wanted: boolean): Promise<void> {
  for (const { apiUrl } of fleet.nodes) {
    await until(
      wanted ? "ready" : "not ready",
      async () => {
        const response = await fetch(`${apiUrl}/readyz`);
        await response.body?.cancel();
        return response.ok === wanted;
      },
      SEEN_MS,
    );
  }
}

/** Whether the first node, to which all of this is done, has counted at least one in each series. */
async function hasCounted(fleet: Fleet, series: readonly string[]): Promise<boolean> {
  const text = await (await fetch(`${fleet.nodes[0]!.apiUrl}/metrics`)).text();
  const counted = text.split("\n").filter((line) => !line.endsWith(" 0"));
  return series.every((name) => counted.some((line) => line.startsWith(`${name} `)));
}

async function counted(fleet: Fleet, series: string): Promise<void> {
  await until(series, () => hasCounted(fleet, [series]), SEEN_MS);
}

async function tooLate(fleet: Fleet): Promise<void> {
  const client = await raw(fleet);
  const answer = await client.do("subscribe", { channel: "brief:1" });
  await client.do("unsubscribe", { channel: "brief:1" });
  const { offset, epoch } = answer as unknown as { offset: number; epoch: string };
  for (let i = 0; i < 10; i++) await client.do("send", { channel: "brief:1", content: i });
  for (let i = 0; i < 10; i++) {
    await client.do("subscribe", { channel: "brief:1", since: { offset, epoch } });
    await client.do("unsubscribe", { channel: "brief:1" });
    await delay(100);
  }
  client.terminate();
}

/** Resolves when the upgrade was refused, and when it was not. */
function refused(url: string, headers: { origin: string }, subprotocol?: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, subprotocol === undefined ? [] : [subprotocol], headers);
    socket.once("error", () => resolve());
    socket.once("open", () => (socket.terminate(), resolve()));
  });
}
