import { versionOf } from "./installed.js";
import { serverPeer } from "./server-peer.js";

export const peer = serverPeer({
  name: "raw",
  description:
    `uWebSockets.js alone (npm ${versionOf("uWebSockets.js")}): topics, no parsing, published inside the message ` +
    "handler. The ceiling",
  protocol: "starling-json",
  maxNodes: 1,
  server: "raw",
});
