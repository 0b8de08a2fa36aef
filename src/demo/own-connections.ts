/** Which messages are this tab's own: by who the server says sent them, as a name or an id can be anyone's. */

import type { Client, Message } from "starling-edge/client";
import { recallList, remember } from "./tab-memory.js";

const REMEMBERED_AS = "connections";
/** Enough for what history may still hold of this tab, over reloads and reconnects. */
const REMEMBERED_MAX = 50;

export interface OwnConnections {
  readonly isOwn: (from: Message["from"]) => boolean;
  /** Whether this page had that connection and lost it: a dead node's members are here until their time is up. */
  readonly isPast: (connection: string) => boolean;
}

export function trackOwnConnections(client: Client): OwnConnections {
  const connections = new Set(recallList(REMEMBERED_AS).slice(-REMEMBERED_MAX));
  /** Without those of before a reload: a tab's copy inherits them while they live. */
  const ofThisPage = new Set<string>();
  client.on("state", (change) => {
    if (change.state !== "connected") return;
    for (const known of [connections, ofThisPage]) {
      known.add(change.connection);
      const [oldest] = known;
      if (known.size > REMEMBERED_MAX && oldest !== undefined) known.delete(oldest);
    }
    remember(REMEMBERED_AS, [...connections]);
  });
  return {
    isOwn(from) {
      if (from === undefined) return false;
      if (from.user !== undefined && from.user === client.connection?.user) return true;
      return connections.has(from.connection);
    },
    isPast: (connection) => ofThisPage.has(connection) && connection !== client.connection?.connection,
  };
}
