/** What a client may do to a node, each as one attacker would do it from one address. */

import type { Socket } from "node:net";
import { OPCODE, clientFrame } from "../load/framing.js";
import { openTcp, openWebSocket, repeated, textFrame, writeAll, type Dial } from "./raw-socket.js";

export interface Target {
  readonly clients: Dial;
  readonly api: Dial;
}

/** What an attacker did: `sent` frames, requests or connections; upgrades `refused`; connections `closed` by the server. */
export interface Damage {
  sent: number;
  closed: number;
  refused: number;
}

export interface Attack {
  readonly name: string;
  readonly what: string;
  /** Flags of the node beside those that all have. */
  readonly flags?: readonly string[];
  readonly fileLimit?: number;
  /** Until `signal` aborts. `epoch` is that of the channel with history. */
  run(target: Target, damage: Damage, signal: AbortSignal, epoch: string): Promise<void>;
}

const PIECE_BYTES = 512 * 1024;
const PAUSE_MS = 50;

const pause = (ms = PAUSE_MS): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Writes the same piece again and again, over a new connection whenever the server ended the last. */
async function flood(
  { clients }: Target,
  damage: Damage,
  signal: AbortSignal,
  piece: Buffer,
  framesInPiece: number,
): Promise<void> {
  while (!signal.aborted) {
    const socket = await openWebSocket(clients).catch(() => undefined);
    if (socket === undefined) {
      damage.refused++;
      await pause();
      continue;
    }
    while (!signal.aborted && (await writeAll(socket, piece))) damage.sent += framesInPiece;
    if (socket.destroyed) damage.closed++;
    socket.destroy();
    await pause();
  }
}

function flooding(name: string, what: string, frame: Buffer, bytes = PIECE_BYTES): Attack {
  const piece = repeated(frame, bytes);
  return {
    name,
    what,
    run: (target, damage, signal) => flood(target, damage, signal, piece, piece.length / frame.length),
  };
}

/** `connections` at a time, each of which asks, waits until something came, and asks again. */
function asking(
  name: string,
  what: string,
  connections: number,
  frames: readonly string[],
  { reads = true }: { readonly reads?: boolean } = {},
): Attack {
  const one = async (
    { clients }: Target,
    damage: Damage,
    signal: AbortSignal,
    piece: Buffer,
  ): Promise<void> => {
    while (!signal.aborted) {
      const socket = await openWebSocket(clients, { reads }).catch(() => undefined);
      if (socket === undefined) {
        damage.refused++;
        await pause();
        continue;
      }
      while (!signal.aborted && (await writeAll(socket, piece))) {
        damage.sent += frames.length;
        await pause(reads ? 5 : 20);
      }
      if (socket.destroyed) damage.closed++;
      socket.destroy();
      await pause();
    }
  };
  return {
    name,
    what,
    run: async (target, damage, signal, epoch) => {
      const piece = Buffer.concat(frames.map((frame) => textFrame(frame.replace("EPOCH", epoch))));
      await Promise.all(Array.from({ length: connections }, () => one(target, damage, signal, piece)));
    },
  };
}

/** Holds so many sockets open, each made by `open`; those that the server ends are made anew. */
function holding(
  options: Omit<Attack, "run"> & { readonly count: number },
  open: (target: Target) => Promise<Socket>,
): Attack {
  const { count, ...attack } = options;
  return {
    ...attack,
    run: async (target, damage, signal) => {
      const held = new Set<Socket>();
      while (!signal.aborted) {
        for (let n = 0; n < 50 && held.size < count && !signal.aborted; n++) {
          const socket = await open(target).catch(() => undefined);
          if (socket === undefined) {
            damage.refused++;
            break;
          }
          damage.sent++;
          held.add(socket);
          socket.once("close", () => {
            if (held.delete(socket)) damage.closed++;
          });
        }
        await pause(20);
      }
      const all = [...held];
      held.clear();
      for (const socket of all) socket.destroy();
    },
  };
}

/** So many connections at a time that do `one` again and again. */
function repeating(
  options: Omit<Attack, "run"> & { readonly connections: number },
  one: (target: Target, damage: Damage, signal: AbortSignal) => Promise<void>,
): Attack {
  const { connections, ...attack } = options;
  return {
    ...attack,
    run: async (target, damage, signal) => {
      const again = async (): Promise<void> => {
        while (!signal.aborted) {
          await one(target, damage, signal).catch(() => damage.refused++);
          await pause();
        }
      };
      await Promise.all(Array.from({ length: connections }, again));
    },
  };
}

const BURST = 1000;
const REQUEST = "GET /v1/totals HTTP/1.1\r\n\r\n";
const READ_BYTES = 64 * 1024;
const HISTORY = '{"action":"history","id":1,"channel":"history:full"}';
const RECOVER = [
  '{"action":"subscribe","id":1,"channel":"history:full","since":{"offset":0,"epoch":"EPOCH"}}',
  '{"action":"unsubscribe","id":2,"channel":"history:full"}',
];

export const attacks: readonly Attack[] = [
  flooding("empty frames", "empty text frames in pieces of 512 kB, one connection", textFrame("")),
  flooding("pings", "WebSocket pings in pieces of 512 kB", clientFrame(OPCODE.ping, Buffer.alloc(0))),
  flooding("commands", "small valid commands in pieces of 512 kB", textFrame('{"action":"ping","id":1}')),
  flooding(
    "unknown actions",
    "frames of 60 kB whose action nobody knows",
    textFrame(`{"action":"${"subscribx".repeat(6800)}"}`),
  ),
  asking("history", "20 connections that ask for 100 publications of 60 kB", 20, [HISTORY]),
  asking("history, unread", "20 connections that ask for them and read nothing", 20, [HISTORY], {
    reads: false,
  }),
  asking("recovery loop", "20 connections that subscribe from offset 0 and unsubscribe", 20, RECOVER),
  {
    name: "upgrades",
    what: "one address opens connections as fast as it can; 50 a second are taken",
    flags: ["--upgrade-rate", "50", "--upgrade-burst", "50"],
    run: async ({ clients }, damage, signal) => {
      const open = async (): Promise<void> => {
        while (!signal.aborted) {
          const socket = await openWebSocket(clients).catch(() => undefined);
          if (socket === undefined) damage.refused++;
          else damage.sent++;
          socket?.destroy();
        }
      };
      await Promise.all(Array.from({ length: 8 }, open));
    },
  },
  holding(
    {
      name: "bare TCP",
      what: "500 TCP connections that say nothing, to a node with 300 descriptors",
      count: 500,
      fileLimit: 300,
    },
    ({ clients }) => Promise.resolve(openTcp(clients)),
  ),
  holding(
    {
      name: "unfinished frames",
      what: "500 connections that leave out the last byte of a frame",
      count: 500,
    },
    async ({ clients }) => {
      const socket = await openWebSocket(clients);
      const frame = clientFrame(OPCODE.text, Buffer.alloc(240_000, 0x20));
      await writeAll(socket, frame.subarray(0, -1));
      return socket;
    },
  ),
  holding(
    { name: "bodies without a key", what: "40 requests of 10 MB without an API key", count: 40 },
    async ({ api }) => {
      const bytes = 10 * 1024 * 1024;
      const socket = openTcp(api);
      socket.write(
        `POST /v1/publish HTTP/1.1\r\nHost: ${api.host}:${api.port}\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${bytes}\r\n\r\n`,
      );
      await writeAll(socket, Buffer.alloc(bytes - 1, 0x20));
      return socket;
    },
  ),
  repeating(
    {
      name: "bursts and new connections",
      what: "20 connections that send what is let through at once, close, and come back with a full burst",
      connections: 20,
    },
    async ({ clients }, damage) => {
      const socket = await openWebSocket(clients);
      const piece = ["subscribe", "unsubscribe"].map((action) =>
        textFrame(`{"action":"${action}","id":1,"channel":"x"}`),
      );
      if (
        await writeAll(
          socket,
          repeated(Buffer.concat(piece), (piece[0]!.length + piece[1]!.length) * (BURST / 2)),
        )
      ) {
        damage.sent += BURST;
      }
      await pause(100);
      if (socket.destroyed) damage.closed++;
      socket.destroy();
    },
  ),
  repeating(
    {
      name: "pipelined requests",
      what: "4 connections to the API that send requests without a key in pieces of 64 kB",
      connections: 4,
    },
    async ({ api }, damage, signal) => {
      const socket = openTcp(api);
      const piece = repeated(Buffer.from(REQUEST), READ_BYTES);
      while (!signal.aborted && (await writeAll(socket, piece))) damage.sent += piece.length / REQUEST.length;
      if (socket.destroyed) damage.closed++;
      socket.destroy();
    },
  ),
];
