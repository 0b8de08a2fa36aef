import type { Client } from "./client.js";
import type { StarlingError } from "./error.js";
import type { Member, Presence, PresenceChange } from "./types.js";

/** Who is in one channel now. */
export interface Roster {
  /** Each user once, by a connection and what it shows, and each anonymous connection; the first 1,000. */
  readonly members: readonly Member[];
  /** How many there are in all; undefined where the server does not tell, or has not yet. */
  readonly count: number | undefined;
  /** Asks anew, in a channel whose rules have no `joinLeave`. */
  refresh(): void;
  /** The subscription of this roster ends. */
  stop(): void;
}

interface Change {
  readonly kind: "join" | "leave" | "update";
  readonly member: PresenceChange;
}

/** What one question names; beyond it members are only counted. */
const LISTED_MAX = 1_000;
const RETRY_MS = 1_000;

/**
 * Keeps a list of who is in a channel, from the server's answer and the joins, leaves and updates that follow, where
 * the channel's rules have `presence` and `joinLeave`. `changed` is called whenever it may be another.
 *
 *     const roster = watchPresence(client, "chat:7", () => show(roster.members));
 *
 * @throws StarlingError closed
 */
export function watchPresence<Channels extends object>(
  client: Client<Channels>,
  channel: keyof Channels & string,
  changed: () => void,
): Roster {
  const members = new Map<string, Member>();
  /** Members beside those, or undefined: it is not known who is there. */
  let unlisted: number | undefined;
  /** What changed since the question that is on its way: some of it may come behind the answer. */
  let meanwhile: Change[] | undefined;
  let questions = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;

  function apply({ kind, member: { channel: _, ...member } }: Change): void {
    const key = keyOf(member);
    if (members.has(key)) {
      if (kind === "leave") members.delete(key);
      else if (kind === "update") members.set(key, member);
    } else if (unlisted !== undefined && kind !== "update") {
      // Who was not listed is one of the others.
      if (kind === "leave") unlisted = Math.max(0, unlisted - 1);
      else if (members.size < LISTED_MAX) members.set(key, member);
      else unlisted++;
    }
  }

  function change(kind: Change["kind"], member: PresenceChange): void {
    meanwhile?.push({ kind, member });
    if (unlisted === undefined) return;
    apply({ kind, member });
    changed();
  }

  function replace(presence: Presence): void {
    members.clear();
    for (const member of presence.members)
      if (!members.has(keyOf(member))) members.set(keyOf(member), member);
    unlisted = Math.max(0, presence.users - members.size);
  }

  async function ask(): Promise<void> {
    clearTimeout(retry);
    const question = ++questions;
    const changes: Change[] = (meanwhile = []);
    try {
      const presence = await client.presence(channel, { limit: LISTED_MAX });
      if (question !== questions) return;
      replace(presence);
      // The answer has its place among the changes, and its members tell which came after it. Of those whom it only
      // counts it is not known: nearly all came before, as only what came in the same turn can have come after.
      const listsAll = unlisted === 0;
      for (const each of changes) if (listsAll || members.has(keyOf(each.member))) apply(each);
    } catch (error) {
      if (question !== questions) return;
      const { temporary, retryAfterMs = 0 } = error as StarlingError;
      // What was known is shown until the next answer.
      if (!temporary) unlisted = undefined;
      else if (subscription.subscribed)
        retry = setTimeout(() => void ask(), Math.max(retryAfterMs, RETRY_MS));
    }
    meanwhile = undefined;
    changed();
  }

  const subscription = client.subscribe(channel, () => undefined, {
    onSubscribed: () => void ask(),
    onJoin: (member) => change("join", member),
    onLeave: (member) => change("leave", member),
    onUpdate: (member) => change("update", member),
    onPresence: (presence) => {
      // Of what it replaces nothing is to come back with an answer that is on its way.
      if (meanwhile !== undefined) meanwhile.length = 0;
      replace(presence);
      changed();
    },
  });
  if (subscription.subscribed) void ask();

  return {
    get members() {
      return unlisted === undefined ? [] : [...members.values()];
    },
    get count() {
      return unlisted === undefined ? undefined : members.size + unlisted;
    },
    refresh: () => void ask(),
    stop() {
      questions++;
      clearTimeout(retry);
      subscription.unsubscribe();
    },
  };
}

/** A user is one member, whatever the number of connections; without a user each connection is one. */
function keyOf({ connection, user }: Member): string {
  return user === undefined ? `-${connection}` : `=${user}`;
}
