/**
 * An innocent client of the node that is attacked: sends a message to its own channel every 10 ms and measures
 * when it comes back, opens a new connection every 100 ms, and asks /healthz ten times a second.
 */

import { connect as connectTcp } from "node:net";
import { createHistogram } from "node:perf_hooks";
import { WebSocket } from "ws";
import { openWebSocket, type Dial } from "./raw-socket.js";
import type { Target } from "./attacks.js";

export type ToNeighbour =
  { readonly kind: "start"; readonly target: Target } | { readonly kind: "measure"; readonly ms: number };

export interface Measured {
  readonly messages: number;
  /** Of messages that came back, and of those that had not yet, their age at the end. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lost: number;
  /** Share of new connections that were taken, 0 to 1. */
  readonly admitted: number;
  /** Share of /healthz that were answered within a second, 0 to 1. */
  readonly healthy: number;
}

const SEND_EVERY_MS = 10;
const CONNECT_EVERY_MS = 100;
const HEALTHY_WITHIN_MS = 1_000;
/** Not the attackers': limits by address are part of what is tried. */
const ADDRESS = "127.0.0.77";

let socket: WebSocket | undefined;
let target: Target | undefined;
const sentAtMs = new Map<number, number>();
let next = 0;
let came: ((number: number) => void) | undefined;

async function start(): Promise<void> {
  const { clients } = target!;
  socket = new WebSocket(`ws://${clients.host}:${clients.port}`, { localAddress: ADDRESS });
  await new Promise((resolve, reject) => socket!.once("open", resolve).once("error", reject));
  socket.on("message", (data: Buffer) => {
    const message = JSON.parse(data.toString()) as { type: string; content?: { n: number } };
    if (message.type === "message") came?.(message.content!.n);
  });
  socket.send('{"action":"subscribe","channel":"neighbour"}');
}

async function admitted(): Promise<boolean> {
  try {
    const opened = await openWebSocket({ ...target!.clients, localAddress: ADDRESS });
    opened.destroy();
    return true;
  } catch {
    return false;
  }
}

function healthy({ host, port }: Dial): Promise<boolean> {
  return new Promise((resolve) => {
    const request = connectTcp({ host, port, localAddress: ADDRESS });
    const done = (ok: boolean): void => {
      clearTimeout(timer);
      request.destroy();
      resolve(ok);
    };
    const timer = setTimeout(() => done(false), HEALTHY_WITHIN_MS);
    request.once("data", (chunk: Buffer) => done(chunk.toString("latin1").startsWith("HTTP/1.1 200")));
    request.once("error", () => done(false));
    request.once("close", () => done(false));
    request.write(`GET /healthz HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: close\r\n\r\n`);
  });
}

async function measure(ms: number): Promise<Measured> {
  const ages = createHistogram({ lowest: 1, highest: 600_000_000 });
  const first = next;
  came = (number) => {
    const sentAt = sentAtMs.get(number);
    if (sentAt === undefined) return;
    sentAtMs.delete(number);
    if (number >= first) ages.record(Math.max(1, Math.round((performance.now() - sentAt) * 1000)));
  };
  const tries: Promise<["admitted" | "healthy", boolean]>[] = [];
  const sending = setInterval(() => {
    if (socket?.readyState !== WebSocket.OPEN) return;
    const n = next++;
    sentAtMs.set(n, performance.now());
    socket.send(`{"action":"send","channel":"neighbour","content":{"n":${n}}}`);
  }, SEND_EVERY_MS);
  const connecting = setInterval(() => {
    tries.push(admitted().then((ok) => ["admitted", ok]));
    tries.push(healthy(target!.api).then((ok) => ["healthy", ok]));
  }, CONNECT_EVERY_MS);
  await new Promise((resolve) => setTimeout(resolve, ms));
  clearInterval(sending);
  clearInterval(connecting);
  const sent = next - first;
  const results = await Promise.all(tries);
  let lost = 0;
  for (const [number, sentAt] of sentAtMs) {
    if (number < first) continue;
    lost++;
    ages.record(Math.max(1, Math.round((performance.now() - sentAt) * 1000)));
  }
  sentAtMs.clear();
  const share = (kind: string): number => {
    const of = results.filter(([name]) => name === kind);
    return of.filter(([, ok]) => ok).length / Math.max(1, of.length);
  };
  return {
    messages: sent,
    p50Ms: ages.percentile(50) / 1000,
    p99Ms: ages.percentile(99) / 1000,
    lost,
    admitted: share("admitted"),
    healthy: share("healthy"),
  };
}

process.on("message", (message: ToNeighbour) => {
  if (message.kind === "start") {
    target = message.target;
    start().then(
      () => process.send?.("started"),
      (error: unknown) => {
        throw error;
      },
    );
    return;
  }
  void measure(message.ms).then((measured) => process.send?.(measured));
});
process.once("disconnect", () => process.exit(0));
