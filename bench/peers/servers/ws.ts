/**
 * The textbook architecture in Node: a Map of channels to Sets of clients, and a loop that sends to each. --state keeps
 * who is connected in Redis too, and pings.
 */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import { openConnectionState } from "./connection-state.js";
import { nextConnectionId, welcomeFrame } from "./frames.js";
import { openJsonBus } from "./json-bus.js";
import { deliverTo, handleCommand, type JsonClient, type JsonNode } from "./json-node.js";
import { HOST, MAX_FRAME_BYTES, readOptions, ready } from "./process.js";

const PING_INTERVAL_MS = 30_000;

const { redisUrl, state: hasState } = readOptions();
const connectionState = hasState ? openConnectionState(redisUrl) : undefined;
const channels = new Map<string, Set<LoopClient>>();

class LoopClient implements JsonClient {
  readonly id = nextConnectionId();
  readonly channels = new Set<string>();

  constructor(readonly socket: WebSocket) {
    connectionState?.put(this.id, this.channels);
  }

  get closed(): boolean {
    return this.socket.readyState !== this.socket.OPEN;
  }

  send(frame: string): void {
    this.socket.send(frame);
  }

  subscribe(channel: string): void {
    this.channels.add(channel);
    const clients = channels.get(channel);
    if (clients === undefined) channels.set(channel, new Set([this]));
    else clients.add(this);
    connectionState?.put(this.id, this.channels);
  }

  unsubscribe(channel: string): void {
    this.#leave(channel);
    connectionState?.put(this.id, this.channels);
  }

  left(): void {
    for (const channel of this.channels) this.#leave(channel);
    connectionState?.remove(this.id);
  }

  #leave(channel: string): void {
    this.channels.delete(channel);
    const clients = channels.get(channel);
    clients?.delete(this);
    if (clients?.size === 0) channels.delete(channel);
  }
}

const unanswered = new Set<WebSocket>();

function pingAll(): void {
  for (const socket of server.clients) {
    if (unanswered.has(socket)) {
      socket.terminate();
    } else {
      unanswered.add(socket);
      socket.ping();
    }
  }
}

const node: JsonNode = {
  bus: undefined,
  deliver: (channel, frame) => {
    const clients = channels.get(channel);
    if (clients === undefined) return;
    for (const client of clients) if (!client.closed) client.send(frame);
  },
};
node.bus = await openJsonBus(redisUrl, deliverTo(node));

const server = new WebSocketServer({ host: HOST, port: 0, backlog: 4096, maxPayload: MAX_FRAME_BYTES });
server.on("connection", (socket) => {
  const client = new LoopClient(socket);
  socket.on("message", (data: Buffer) => handleCommand(node, client, data.toString()));
  socket.on("close", () => {
    client.left();
    unanswered.delete(socket);
  });
  // A cut connection: 'close' follows.
  socket.on("error", () => undefined);
  if (hasState) socket.on("pong", () => unanswered.delete(socket));
  client.send(welcomeFrame(client.id));
});
if (hasState) setInterval(pingAll, PING_INTERVAL_MS);
await once(server, "listening");
ready((server.address() as AddressInfo).port);
