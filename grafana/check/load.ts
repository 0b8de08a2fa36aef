/** A little load and one of each fault, so that the rarer series have something to show. */

import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { msgpack } from "../../src/client/codec-msgpack.js";
import { connect, StarlingError, type Client } from "../../src/client/index.js";
import { RawClient, type Frame } from "../../test/support/raw-client.js";
import { ORIGIN, PREFIX, type Fleet } from "./fleet.js";

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
const BULK_PUBLICATIONS = 400;
const BULK_BYTES = 50_000;
const STORM_SOCKETS = 250;

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
  const phases: Readonly<Record<string, () => Promise<unknown>>> = {
    calm: () => Promise.resolve(),
    "clients that make mistakes": () => mistakes(fleet),
    "a storm of newcomers": () => storm(fleet),
    "slow readers, and one that answers no ping": () => slowReaders(fleet),
    "one node drained and started again": () => restart(fleet, 1, "SIGTERM"),
    "one node killed and started again": () => restart(fleet, 2, "SIGKILL"),
    "Redis killed, and back without its data": () => redisAway(fleet, options.phaseMs / 3),
    "garbage on the bus": () => fleet.redis.client().publish(`${PREFIX}bus:0`, "no envelope"),
    "who comes back too late": () => tooLate(fleet),
    "calm again": () => Promise.resolve(),
  };
  try {
    for (const [name, phase] of Object.entries(phases)) {
      options.report(name);
      await Promise.all([phase(), delay(options.phaseMs)]);
    }
    return { failures, endedAt: Date.now() / 1000 };
  } finally {
    clearInterval(publishing);
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
  const client = await raw(fleet);
  client.sendText("nonsense");
  await client.ask("subscribe", { channel: "a b" });
  for (let i = 0; i < 400; i++) client.send({ action: "ping", id: i });
  await delay(500);
  client.terminate();
  await refused(fleet.wsUrl, { origin: "http://evil.example" });
  await refused(fleet.wsUrl, { origin: ORIGIN }, "soap");
  const [first, second] = [await raw(fleet), await raw(fleet)];
  // A session without channels is not kept; with one it is in Redis some moments later.
  await first.do("subscribe", { channel: "chat:0" });
  await delay(1000);
  await second.do("connect", { resume: first.welcome["resume"] as string });
}

async function storm(fleet: Fleet): Promise<void> {
  const sockets = Array.from({ length: STORM_SOCKETS }, () => new OriginSocket(fleet.nodes[0]!.wsUrl));
  for (const socket of sockets) socket.on("error", () => undefined);
  await delay(1500);
  for (const socket of sockets) socket.terminate();
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
  for (let i = 0; i < BULK_PUBLICATIONS; i++) {
    await Promise.all(["chat:bulk", "bulk"].map((channel) => publish(node.apiUrl, { channel, content })));
  }
  readers[0]!.resume();
  await delay(5000);
  for (const socket of [...readers, deaf]) socket.terminate();
}

async function publish(apiUrl: string, publication: object): Promise<void> {
  const response = await fetch(`${apiUrl}/v1/publish`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(publication),
  });
  if (!response.ok) throw new Error(`POST /v1/publish: ${response.status} ${await response.text()}`);
  await response.body?.cancel();
}

async function restart(fleet: Fleet, index: number, signal: NodeJS.Signals): Promise<void> {
  await fleet.nodes[index]!.end(signal);
  await fleet.nodes[index]!.start();
}

async function redisAway(fleet: Fleet, awayMs: number): Promise<void> {
  await fleet.redis.kill();
  await delay(awayMs);
  await fleet.redis.restart();
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
