/** The members of the open channel, as the SDK has them, for the list of who is here. */

import type { Client } from "starling-edge/client";
import type { People, Person } from "./people.js";
import { nodeOf } from "./chat-message.js";
import { startRoster, type Shown } from "./roster.js";

export interface MembersPanel {
  /** @param people undefined: no channel is open */
  show(people: People | undefined): void;
}

export function startMembersPanel(client: Client, ownName: () => string): MembersPanel {
  const roster = startRoster(() => show(shown));
  let shown: People | undefined;

  function show(people: People | undefined): void {
    shown = people;
    const count = people?.count;
    roster.show(count === undefined ? undefined : people?.list.map(mark), count ?? 0);
  }

  function mark({ connection, user, name, tokenName }: Person): Shown {
    const me = client.connection;
    const own = connection === me?.connection || (user !== undefined && user === me?.user);
    return {
      name: tokenName ?? (own ? ownName() : name),
      ...{ own, title: connection, node: nodeOf(connection) },
    };
  }

  client.on("state", ({ state }) => roster.stale(state !== "connected"));
  return { show };
}
