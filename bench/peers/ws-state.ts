import { versionOf } from "./installed.js";
import { MANY_NODES } from "./nodes.js";
import { serverPeer } from "./server-peer.js";

export const peer = serverPeer({
  name: "ws-state",
  description:
    `ws ${versionOf("ws")} with what the textbook adds: where there is a Redis, the state of each connection in it by ` +
    `ioredis ${versionOf("ioredis")}; a ping each 30 s`,
  protocol: "starling-json",
  maxNodes: MANY_NODES,
  server: "ws",
  arguments: ["--state"],
});
