/** uWebSockets.js and nothing else. --batched publishes what a loop turn brought from one setImmediate. */

import uWS, { type TemplatedApp, type WebSocket } from "uWebSockets.js";
import { errorFrame, nextConnectionId, replyFrame, welcomeFrame, type Command } from "./frames.js";
import { readOptions, ready } from "./process.js";
import { messageFrom, readSend } from "./send-command.js";
import { listen, SOCKET_OPTIONS } from "./uws-app.js";

interface UserData {
  /** Made for those who publish: idle connections cost what uWebSockets.js costs. */
  sender: string | undefined;
}

const { batched } = readOptions();
const app: TemplatedApp = uWS.App();
const publish = batched
  ? publishLater
  : (channel: string, frame: Buffer) => void app.publish(channel, frame, false);
let pending: { channel: string; frame: Buffer }[] = [];

function publishLater(channel: string, frame: Buffer): void {
  // Its bytes are written over by the next command.
  if (pending.push({ channel, frame: Buffer.from(frame) }) === 1) setImmediate(flush);
}

function flush(): void {
  const batch = pending;
  pending = [];
  for (const { channel, frame } of batch) app.publish(channel, frame, false);
}

function onMessage(ws: WebSocket<UserData>, message: ArrayBuffer): void {
  const bytes = Buffer.from(message);
  const send = readSend(bytes);
  if (send === undefined) {
    onOther(ws, bytes);
    return;
  }
  const user = ws.getUserData();
  user.sender ??= `,"from":{"connection":"${nextConnectionId()}"}}`;
  publish(send.channel, messageFrom(user.sender));
  if (send.id !== undefined) ws.send(`{"type":"reply","id":${send.id}}`);
}

function onOther(ws: WebSocket<UserData>, bytes: Buffer): void {
  const { action, channel, id } = JSON.parse(bytes.toString()) as Command;
  if (action === "subscribe") ws.subscribe(channel);
  else if (action === "unsubscribe") ws.unsubscribe(channel);
  else {
    ws.send(errorFrame(`"${action}" is not known here`));
    return;
  }
  if (id !== undefined) ws.send(replyFrame(id, channel));
}

app.ws<UserData>("/*", {
  ...SOCKET_OPTIONS,
  upgrade: (res, req, context) => {
    res.upgrade({ sender: undefined }, req.getHeader("sec-websocket-key"), "", "", context);
  },
  open: (ws) => void ws.send(welcomeFrame(nextConnectionId())),
  message: onMessage,
});
ready(await listen(app));
