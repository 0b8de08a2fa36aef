/** The app of every Pusher server that the bench starts, and what is the same for all of them. */

import type { RunningPeer } from "../types.js";

export const PUSHER_APP = { id: "bench", key: "bench-key", secret: "secret-of-the-bench" } as const;

/** More than Pusher allows: what is measured is not how limits are enforced. */
export const PRESENCE_MEMBERS_MAX = 1000;
export const EVENT_KILOBYTES_MAX = 32;

/** By the URLs that clients and back ends of the app use. */
export function withPusherApp(running: RunningPeer): RunningPeer {
  const { id, key, secret } = PUSHER_APP;
  return {
    ...running,
    nodes: running.nodes.map((node) => ({
      ...node,
      url: `${node.url}/app/${key}`,
      apiUrl: `${node.url.replace(/^ws/, "http")}/apps/${id}`,
    })),
    secret,
  };
}
