/** The lesson's architecture in Node: a Map of channels to Sets of clients, and a loop that sends to each. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import { nextConnectionId, welcomeFrame } from "./frames.js";
import { openJsonBus } from "./json-bus.js";
import { deliverTo, handleCommand, type JsonClient, type JsonNode } from "./json-node.js";
import { HOST, MAX_FRAME_BYTES, readOptions, ready } from "./process.js";

const channels = new Map<string, Set<LoopClient>>();

class LoopClient implements JsonClient {
  readonly id = nextConnectionId();
  readonly channels = new Set<string>();

  constructor(readonly socket: WebSocket) {}

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
  }

  unsubscribe(channel: string): void {
    this.channels.delete(channel);
    const clients = channels.get(channel);
    clients?.delete(this);
    if (clients?.size === 0) channels.delete(channel);
  }

  left(): void {
    for (const channel of this.channels) this.unsubscribe(channel);
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
node.bus = await openJsonBus(readOptions().redisUrl, deliverTo(node));

const server = new WebSocketServer({ host: HOST, port: 0, backlog: 4096, maxPayload: MAX_FRAME_BYTES });
server.on("connection", (socket) => {
  const client = new LoopClient(socket);
  socket.on("message", (data: Buffer) => handleCommand(node, client, data.toString()));
  socket.on("close", () => client.left());
  // A cut connection: 'close' follows.
  socket.on("error", () => undefined);
  client.send(welcomeFrame(client.id));
});
await once(server, "listening");
ready((server.address() as AddressInfo).port);
