import type { Peer } from "../types.js";
import { MANY_NODES } from "./nodes.js";
import { startStarling } from "./starling-node.js";

const known = { name: "starling", maxNodes: MANY_NODES } as const;

export const peer: Peer = {
  ...known,
  description:
    "this node, `starling serve`, with metrics, heartbeats, registry and limits on; rate limits raised",
  protocol: "starling-json",
  has: ["history", "presence", "api", "workers", "msgpack"],
  start: (options) => startStarling(known, options),
};
