import { Packr } from "msgpackr";
import { classifyType } from "./starling-json.js";
import type { Protocol } from "./protocol.js";

const packr = new Packr({ useRecords: false });
// pack() reuses its buffer.
const pack = (command: object): Buffer => Buffer.from(packr.pack(command));

export const starlingMsgpack: Protocol = {
  name: "starling-msgpack",
  path: "/",
  subprotocol: "starling.v1.msgpack",
  binary: true,
  subscribe: (channel) => pack({ action: "subscribe", channel, id: 1 }),
  publish: (channel, content, acknowledged) =>
    pack({ action: "send", channel, content, ...(acknowledged && { id: 1 }) }),
  authenticate: (token) => pack({ action: "connect", token, id: 1 }),
  presence: (channel) => pack({ action: "presence_stats", channel, id: 1 }),
  classify: (payload) => classifyType(payload.toString("latin1", 0, 40)),
};
