/**
 * Runs what the first connections would run for the first time, before the node says that it is ready: V8 then has
 * compiled it. Sockets are real, from this process to a listener of its own, as stand-ins would teach V8 other shapes;
 * core, broker, registry and counts are of their own too, so that nothing of it shows in metrics, Redis or the log.
 */

import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { createOpenAuthorizer } from "./auth/open.js";
import { App, Apps, DEFAULT_APP } from "./core/app.js";
import { DEFAULT_RULES } from "./core/channel-rules.js";
import { Edge } from "./core/edge.js";
import { silentLog, type Log } from "./core/log.js";
import type { EdgeOptions } from "./core/options.js";
import type { Conversation, Protocol } from "./core/protocol.js";
import { Stats } from "./core/stats.js";
import type { Topics } from "./core/transport.js";
import { createMemoryBroker } from "./memory/broker.js";
import { createMemoryControl } from "./memory/control.js";
import { createMemoryPresence } from "./memory/presence.js";
import { createMemoryRegistry } from "./memory/registry.js";
import { listenWebSocket, type WebSocketListener } from "./transport/uws.js";

export interface WarmUpOptions {
  readonly protocols: readonly Protocol[];
  /** Of the node, which its limits are left out of. */
  readonly edge: EdgeOptions;
  /** It ends after so long, whatever it reached. */
  readonly limitMs: number;
  readonly log: Log;
}

/** More gain nothing that can be measured. */
const CONVERSATIONS_MAX = 4_000;
const AT_A_TIME = 16;
const HOST = "127.0.0.1";
/** A close frame of 1000. */
const GOODBYE = masked(Uint8Array.of(0x03, 0xe8), 8);
const NODE_ID = "warm-up";

/** Code is compiled for a process: further nodes in it are warm. */
let isWarm = false;

/** Never rejects: a node that could not warm up serves all the same. */
export async function warmUp(options: WarmUpOptions): Promise<void> {
  if (isWarm || options.limitMs <= 0) return;
  isWarm = true;
  const endsAtMs = performance.now() + options.limitMs;
  const conversations = options.protocols.flatMap((protocol) => protocol.conversations ?? []);
  if (conversations.length === 0) return;
  try {
    await run(options, conversations, endsAtMs);
  } catch (error) {
    options.log.debug({ error: String(error) }, "the warm-up was left out");
  }
}

async function run(
  options: WarmUpOptions,
  conversations: readonly Conversation[],
  endsAtMs: number,
): Promise<void> {
  let listener: WebSocketListener | undefined;
  const topics: Topics = { publish: (topic, frame, binary) => listener?.publish(topic, frame, binary) };
  const edge = createEdge(options, topics);
  const open = new Set<Socket>();
  let ended = false;
  try {
    await edge.start();
    listener = await listenWebSocket({
      host: HOST,
      port: 0,
      sharePort: false,
      hardFrameBytes: options.edge.maxFrameBytes,
      hardBufferedBytes: options.edge.maxBufferedBytes,
      idleTimeoutSeconds: 60,
      accept: { maxSockets: Infinity, maxIdle: Infinity, sharePercent: 100 },
      refused: () => undefined,
      decide: (request) => edge.admit(request),
      http: () => Promise.resolve({ status: 404, headers: {}, body: "" }),
    });
    const { port } = listener;
    const scripts = conversations.map(scriptOf);
    let left = CONVERSATIONS_MAX;
    const talk = async (): Promise<void> => {
      while (left > 0 && !ended && performance.now() < endsAtMs) {
        await hold(scripts[left-- % scripts.length]!, port, open);
      }
    };
    const late = delay(Math.max(0, endsAtMs - performance.now()), undefined, { ref: false });
    await Promise.race([late, Promise.all(Array.from({ length: AT_A_TIME }, talk))]);
  } finally {
    ended = true;
    for (const socket of open) socket.destroy();
    await edge.stop();
    listener?.close();
  }
}

function createEdge({ protocols, edge }: WarmUpOptions, topics: Topics): Edge {
  const stats = new Stats();
  const log = silentLog;
  const room = { maxQueuedItems: 10_000, maxQueuedBytes: 10_000_000 };
  return new Edge({
    protocols,
    options: {
      ...edge,
      nodeId: NODE_ID,
      maxConnections: Infinity,
      ...{ maxConnectionsPerIp: 0, upgradeRate: 0, maxUnauthenticated: 0, sharePerIpPercent: 100 },
      ...{ origins: [], originRequired: false },
      rate: { messagesPerSecond: 1e6, messagesBurst: 1e6, bytesPerSecond: 1e9, bytesBurst: 1e9 },
    },
    broker: createMemoryBroker({ ...room, messageIdWindowMs: 1_000, emptyMs: 1_000, stats, log }),
    control: createMemoryControl({ nodeId: NODE_ID }),
    registry: createMemoryRegistry({ nodeId: NODE_ID, sessionTtlMs: 1_000, stats }),
    presence: createMemoryPresence({ graceMs: 1_000, stats, log }),
    apps: new Apps([
      new App({ id: DEFAULT_APP, authorizer: createOpenAuthorizer(), rulesOf: () => DEFAULT_RULES }),
    ]),
    topics,
    stats,
    log,
  });
}

/** What a client of a conversation sends. */
interface Script {
  readonly upgrade: string;
  readonly frames: Buffer;
  readonly answers: number;
}

function scriptOf({ path, subprotocol, frames, binary, answers }: Conversation): Script {
  const offer = subprotocol === undefined ? "" : `Sec-WebSocket-Protocol: ${subprotocol}\r\n`;
  return {
    upgrade:
      `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n${offer}\r\n`,
    frames: Buffer.concat(frames.map((frame) => masked(frame, binary ? 2 : 1))),
    answers,
  };
}

/** One client, from its upgrade to its close. */
async function hold({ upgrade, frames, answers }: Script, port: number, open: Set<Socket>): Promise<void> {
  const socket = connect({ host: HOST, port, noDelay: true });
  open.add(socket);
  const closed = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
  socket.write(upgrade);
  let received: Buffer = Buffer.alloc(0);
  let upgraded = false;
  let left = answers;
  socket.on("data", (bytes) => {
    received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
    if (!upgraded) {
      const end = received.indexOf("\r\n\r\n");
      if (end === -1) return;
      upgraded = true;
      received = received.subarray(end + 4);
      socket.write(frames);
    }
    for (
      let end = frameEnd(received);
      end !== undefined && end <= received.length;
      end = frameEnd(received)
    ) {
      received = received.subarray(end);
      left--;
    }
    if (left > 0) return;
    left = Infinity;
    // The server ends the connection: else thousands of ports would wait a minute behind it.
    socket.write(GOODBYE);
  });
  socket.on("error", () => undefined); // "close" follows
  await closed;
  open.delete(socket);
}

/** RFC 6455 5.2, with a mask of zeros. A frame has less than 64 kB. */
function masked(payload: Uint8Array, opcode: number): Buffer {
  const { length } = payload;
  const head =
    length < 126 ? [0x80 | opcode, 0x80 | length] : [0x80 | opcode, 0xfe, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.from([...head, 0, 0, 0, 0]), payload]);
}

/** Where the frame ends that `bytes` begins with; undefined: that is not known yet. */
function frameEnd(bytes: Buffer): number | undefined {
  if (bytes.length < 2) return undefined;
  const length = bytes[1]! & 0x7f;
  if (length < 126) return 2 + length;
  return bytes.length < 4 ? undefined : 4 + bytes.readUInt16BE(2);
}
