import { versionOf } from "./installed.js";
import { MANY_NODES } from "./nodes.js";
import { serverPeer } from "./server-peer.js";

export const peer = serverPeer({
  name: "json-publish",
  description:
    `uWebSockets.js topics (npm ${versionOf("uWebSockets.js")}) on each node, one JSON PUBLISH per message by ` +
    `ioredis ${versionOf("ioredis")} between them`,
  protocol: "starling-json",
  maxNodes: MANY_NODES,
  server: "json-publish",
});
