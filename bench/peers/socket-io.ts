import { versionOf } from "./installed.js";
import { MANY_NODES } from "./nodes.js";
import { serverPeer } from "./server-peer.js";

export const peer = serverPeer({
  name: "socket.io",
  description:
    `Socket.IO ${versionOf("socket.io")} on node:http, @socket.io/redis-adapter ` +
    versionOf("@socket.io/redis-adapter"),
  protocol: "socket.io",
  maxNodes: MANY_NODES,
  server: "socket-io",
});
