/** uWebSockets.js topics within a node; between nodes one JSON PUBLISH per message. */

import uWS, { type WebSocket } from "uWebSockets.js";
import { nextConnectionId, welcomeFrame } from "./frames.js";
import { openJsonBus } from "./json-bus.js";
import { deliverTo, handleCommand, type JsonClient, type JsonNode } from "./json-node.js";
import { readOptions, ready } from "./process.js";
import { listen, SOCKET_OPTIONS } from "./uws-app.js";

interface UserData {
  client: TopicClient;
}

class TopicClient implements JsonClient {
  readonly id = nextConnectionId();
  closed = false;
  socket: WebSocket<UserData> | undefined;

  send(frame: string): void {
    this.socket?.send(frame);
  }

  subscribe(channel: string): void {
    this.socket?.subscribe(channel);
  }

  unsubscribe(channel: string): void {
    this.socket?.unsubscribe(channel);
  }
}

const app = uWS.App();
const node: JsonNode = {
  bus: undefined,
  deliver: (channel, frame) => void app.publish(channel, frame, false),
};
node.bus = await openJsonBus(readOptions().redisUrl, deliverTo(node));

app.ws<UserData>("/*", {
  ...SOCKET_OPTIONS,
  upgrade: (res, req, context) => {
    res.upgrade({ client: new TopicClient() }, req.getHeader("sec-websocket-key"), "", "", context);
  },
  open: (ws) => {
    const { client } = ws.getUserData();
    client.socket = ws;
    client.send(welcomeFrame(client.id));
  },
  message: (ws, message) => handleCommand(node, ws.getUserData().client, Buffer.from(message).toString()),
  close: (ws) => {
    const { client } = ws.getUserData();
    client.closed = true;
    client.socket = undefined;
  },
});
ready(await listen(app));
