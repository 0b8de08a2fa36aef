import { versionOf } from "./installed.js";
import { serverPeer } from "./server-peer.js";

export const peer = serverPeer({
  name: "raw-batched",
  description: `raw uWebSockets.js (npm ${versionOf("uWebSockets.js")}), published once a loop turn from setImmediate`,
  protocol: "starling-json",
  maxNodes: 1,
  server: "raw",
  arguments: ["--batched"],
});
