import type { Protocol } from "./protocol.js";

// Engine.IO 4 packets: 0 open, 2 ping, 3 pong, 4 message; Socket.IO packets within: 0 connect, 2 event, 3 ack,
// 4 connect error. An id between type and data asks for an ack; one id for all, as acks are counted, not matched.
const event = (name: string, values: readonly unknown[], acknowledged: boolean): Buffer =>
  Buffer.from(`42${acknowledged ? "1" : ""}${JSON.stringify([name, ...values])}`);

export const socketIo: Protocol = {
  name: "socket.io",
  path: "/socket.io/?EIO=4&transport=websocket",
  binary: false,
  hello: Buffer.from("40"),
  pong: Buffer.from("3"),
  subscribe: (channel) => event("subscribe", [channel], true),
  publish: (channel, content, acknowledged) => event("publish", [channel, content], acknowledged),
  classify(payload) {
    const head = payload.toString("latin1", 0, 2);
    if (head === "43") return "reply";
    if (head === "40") return "ready";
    if (head === "44" || head === "41") return "error";
    if (head.startsWith("0")) return "greeting";
    if (head.startsWith("2")) return "ping";
    return "other";
  },
};
