import type { Peer } from "../types.js";
import { MANY_NODES } from "./nodes.js";
import { EVENT_KILOBYTES_MAX, PRESENCE_MEMBERS_MAX, PUSHER_APP, withPusherApp } from "./pusher-app.js";
import { startStarling } from "./starling-node.js";

const known = { name: "starling-pusher", maxNodes: MANY_NODES } as const;

/** One publisher here stands for hundreds of users. */
const PUSHER = {
  clientEvents: true,
  clientEventsPerSecond: 1_000_000,
  maxPresenceMembers: PRESENCE_MEMBERS_MAX,
  maxDataBytes: EVENT_KILOBYTES_MAX * 1024,
};

export const peer: Peer = {
  ...known,
  description: "the same node with an app that has a key, by its Pusher protocol and API; client events on",
  protocol: "pusher",
  has: ["presence", "events", "workers"],
  async start(options) {
    const running = await startStarling(known, options, {
      "app-id": PUSHER_APP.id,
      "app-key": PUSHER_APP.key,
      "app-secret": PUSHER_APP.secret,
      pusher: JSON.stringify(PUSHER),
    });
    return withPusherApp(running);
  },
};
