import type { Peer } from "../types.js";
import { versionOf } from "./installed.js";
import { withPusherApp } from "./pusher-app.js";
import { serverPeer } from "./server-peer.js";

const server = serverPeer({
  name: "raw-pusher",
  description:
    `uWebSockets.js alone (npm ${versionOf("uWebSockets.js")}) with the Pusher protocol's greeting, subscriptions and ` +
    "client events; signatures unchecked. Its ceiling",
  protocol: "pusher",
  maxNodes: 1,
  server: "raw-pusher",
});

export const peer: Peer = {
  ...server,
  start: async (options) => withPusherApp(await server.start(options)),
};
