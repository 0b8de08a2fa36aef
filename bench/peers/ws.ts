import { versionOf } from "./installed.js";
import { MANY_NODES } from "./nodes.js";
import { serverPeer } from "./server-peer.js";

export const peer = serverPeer({
  name: "ws",
  description:
    `the textbook architecture: ws ${versionOf("ws")}, JSON, a loop over a channel's clients, one PUBLISH per ` +
    `message by ioredis ${versionOf("ioredis")}`,
  protocol: "starling-json",
  maxNodes: MANY_NODES,
  server: "ws",
});
