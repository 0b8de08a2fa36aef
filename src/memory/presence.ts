/** Who is in which channel, for a node alone: events are told in a later phase of the loop, as from a bus. */

import type { ChannelKey } from "../core/broker.js";
import { READ_LIMIT_MAX } from "../core/limits.js";
import type { Log } from "../core/log.js";
import type {
  PresenceCounts,
  PresenceEvent,
  PresenceHandlers,
  PresenceMember,
  PresencePage,
  PresenceStore,
} from "../core/presence.js";
import * as smallSet from "../core/small-set.js";
import type { SmallSet } from "../core/small-set.js";
import type { Stats } from "../core/stats.js";

export interface MemoryPresenceOptions {
  /** How long a user without a connection may come back unnoticed. */
  readonly graceMs: number;
  /** Members that one page names at most; READ_LIMIT_MAX by default. */
  readonly maxMembers?: number | undefined;
  readonly stats: Stats;
  readonly log: Log;
}

interface Channel {
  /** By connection. */
  readonly members: Map<string, PresenceMember>;
  /** The connections of each person; an anonymous connection is a person of its own. */
  readonly persons: Map<string, SmallSet<PresenceMember>>;
  /** Persons without a connection of whom no leave was told yet. */
  readonly leaving: Map<string, Leaving>;
}

interface Leaving {
  /** Stands for the person until the timer ends. */
  readonly last: PresenceMember;
  readonly timer: NodeJS.Timeout;
}

export function createMemoryPresence(options: MemoryPresenceOptions): PresenceStore {
  return new MemoryPresence(options);
}

/** Of a set that is not empty. */
function firstOf(members: SmallSet<PresenceMember>): PresenceMember {
  for (const member of smallSet.items(members)) return member;
  throw new Error("a person without a connection is no person");
}

function personOf({ connection, user }: PresenceMember): string {
  return user === null ? `-${connection}` : personOfUser(user);
}

function personOfUser(user: string): string {
  return `=${user}`;
}

function usersOf({ persons, leaving }: Channel): number {
  return persons.size + leaving.size;
}

class MemoryPresence implements PresenceStore {
  readonly #options: MemoryPresenceOptions;
  readonly #channels = new Map<ChannelKey, Channel>();
  #handlers: PresenceHandlers | undefined;
  #events: PresenceEvent[] = [];
  #drain: NodeJS.Immediate | undefined;
  #stopped = false;

  constructor(options: MemoryPresenceOptions) {
    this.#options = options;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface waits for a link; here is none
  async start(handlers: PresenceHandlers): Promise<void> {
    this.#handlers = handlers;
  }

  join(key: ChannelKey, member: PresenceMember): void {
    if (this.#stopped) return;
    let channel = this.#channels.get(key);
    const former = channel?.members.get(member.connection);
    if (channel !== undefined && former?.user === member.user) {
      if (former.info === member.info) return;
      const name = personOf(member);
      channel.members.set(member.connection, member);
      channel.persons.set(name, smallSet.add(smallSet.remove(channel.persons.get(name), former), member));
      this.#tell({ key, kind: "update", member });
      return;
    }
    // It is somebody else from now on.
    if (former !== undefined) this.leave(key, former);
    if (channel === undefined) {
      channel = { members: new Map(), persons: new Map(), leaving: new Map() };
      this.#channels.set(key, channel);
    }
    const name = personOf(member);
    const others = channel.persons.get(name);
    const leaving = channel.leaving.get(name);
    channel.members.set(member.connection, member);
    channel.persons.set(name, smallSet.add(others, member));
    channel.leaving.delete(name);
    clearTimeout(leaving?.timer);
    if (leaving !== undefined) {
      if (leaving.last.info !== member.info) this.#tell({ key, kind: "update", member });
    } else if (others === undefined) {
      this.#tell({ key, kind: "join", member });
    } else if (member.info !== undefined && firstOf(others).info !== member.info) {
      this.#tell({ key, kind: "update", member });
    }
  }

  connectionsHere(key: ChannelKey, user: string): readonly string[] {
    const persons = this.#channels.get(key)?.persons;
    return Array.from(smallSet.items(persons?.get(personOfUser(user))), ({ connection }) => connection);
  }

  leave(key: ChannelKey, { connection }: PresenceMember): void {
    const channel = this.#channels.get(key);
    const member = channel?.members.get(connection);
    if (channel === undefined || member === undefined) return;
    channel.members.delete(connection);
    const name = personOf(member);
    const others = smallSet.remove(channel.persons.get(name), member);
    if (others !== undefined) {
      channel.persons.set(name, others);
      const next = firstOf(others);
      // What the user showed last may have been this one's.
      if (next.info !== member.info) this.#tell({ key, kind: "update", member: next });
      return;
    }
    channel.persons.delete(name);
    const timer = setTimeout(() => {
      channel.leaving.delete(name);
      if (channel.persons.size + channel.leaving.size === 0) this.#channels.delete(key);
      const { info: _, ...gone } = member;
      this.#tell({ key, kind: "leave", member: gone });
    }, this.#options.graceMs);
    channel.leaving.set(name, { last: member, timer });
  }

  async enter(
    key: ChannelKey,
    member: PresenceMember,
    { usersMost, limit }: { readonly usersMost: number; readonly limit: number },
    tell: (page: PresencePage) => void,
  ): Promise<boolean> {
    const channel = this.#channels.get(key);
    const name = personOf(member);
    const isKnown = channel?.persons.has(name) === true || channel?.leaving.has(name) === true;
    if (channel !== undefined && !isKnown && usersOf(channel) >= usersMost) return false;
    this.join(key, member);
    await this.members(key, limit, tell);
    return true;
  }

  #tell(event: PresenceEvent): void {
    this.#events.push(event);
    this.#drain ??= setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    const events = this.#events;
    clearImmediate(this.#drain);
    this.#drain = undefined;
    // What happens meanwhile is told in the next turn.
    this.#events = [];
    for (const event of events) {
      this.#guard(() => this.#handlers?.event(event));
    }
  }

  #guard(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#options.stats.sessionFaults++;
      this.#options.log.error({ err: error }, "the handler of a presence event threw");
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface may have to ask; here all is known
  async members(key: ChannelKey, limit: number, tell?: (page: PresencePage) => void): Promise<PresencePage> {
    const page = this.#page(key, limit);
    if (tell !== undefined) {
      // They are in the page already.
      this.#deliver();
      this.#guard(() => tell(page));
    }
    return page;
  }

  #page(key: ChannelKey, limit: number): PresencePage {
    const channel = this.#channels.get(key);
    if (channel === undefined) return { members: [], connections: 0, users: 0 };
    const most = Math.max(0, Math.min(Math.floor(limit) || 0, this.#options.maxMembers ?? READ_LIMIT_MAX));
    const connections = channel.members.size + channel.leaving.size;
    // Each user is named before anybody's second connection.
    const named =
      connections <= most ? channel.members.values() : Array.from(channel.persons.values(), firstOf);
    const members: PresenceMember[] = [];
    for (const member of named) {
      if (members.length >= most) break;
      members.push(member);
    }
    for (const { last } of channel.leaving.values()) {
      if (members.length >= most) break;
      members.push(last);
    }
    return { members, connections, users: usersOf(channel) };
  }

  async counts(key: ChannelKey): Promise<PresenceCounts> {
    const { connections, users } = await this.members(key, 0);
    return { connections, users };
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface writes what waits; here nothing does
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#handlers = undefined;
    clearImmediate(this.#drain);
    for (const { leaving } of this.#channels.values()) {
      for (const { timer } of leaving.values()) clearTimeout(timer);
    }
    this.#channels.clear();
  }
}
