/**
 * Who of this node's subscribers is a member of a channel that has presence, what it shows of itself there, and what
 * subscribers are told of each other.
 */

import { membersWithin } from "./answers.js";
import type { ChannelKey } from "./broker.js";
import type { ChannelTopic, LocalChannel } from "./channel.js";
import type { Connection } from "./connection.js";
import { StarlingError, quote } from "./errors.js";
import type { FanOut } from "./fan-out.js";
import type { Grant } from "./grant.js";
import { READ_LIMIT_MAX } from "./limits.js";
import type { PresenceSnapshot } from "./notices.js";
import type { PresenceEvent, PresenceMember, PresencePage, PresenceStore } from "./presence.js";
import * as smallSet from "./small-set.js";

export interface MembersOptions {
  readonly presence: PresenceStore;
  readonly fanOut: FanOut;
  readonly channels: ReadonlyMap<ChannelKey, LocalChannel>;
  readonly connections: ReadonlyMap<string, Connection>;
  /** Of a list of members. */
  readonly pageBytes: number;
}

/** What of a channel's members a new one is to be told, and how many there may be. */
export interface MembersAsked {
  /** Members that the answer has at most. */
  readonly limit: number;
  /** Where so many users are there, and its own is none of them, it is refused. */
  readonly usersMost: number;
  /** The setting that says so, for people. */
  readonly by: string;
}

/** A connection that became a member before it hears the channel: it is answered with who is there. */
export interface Arrival {
  /** Who is there by now: what is told meanwhile is in it. */
  readonly page: PresencePage;
  /** It hears the channel from now on, or came to nothing. */
  end(): void;
}

interface OpenArrival {
  /** Shared by all who were given the same page, until somebody comes or goes. */
  members: readonly PresenceMember[];
  users: number;
}

export class Members {
  readonly #options: MembersOptions;
  readonly #presence: PresenceStore;
  readonly #arrivals = new Map<LocalChannel, Set<OpenArrival>>();

  constructor(options: MembersOptions) {
    this.#options = options;
    this.#presence = options.presence;
  }

  /**
   * It shows what it is and has by now, where that may be something else than before.
   * @returns whether it is a member
   */
  show(connection: Connection, channel: LocalChannel): boolean {
    const grant = connection.grants?.get(channel);
    if (!isMember(channel, grant)) return false;
    this.#presence.join(channel.key, memberOf(connection, grant));
    return true;
  }

  /** As show, in all channels of the connection. */
  showEverywhere(connection: Connection): void {
    if (connection.isClosed) return;
    for (const channel of smallSet.items(connection.channels)) this.show(connection, channel);
  }

  /** It is a subscriber no longer. */
  leave(connection: Connection, channel: LocalChannel): void {
    const grant = connection.grants?.get(channel);
    if (isMember(channel, grant)) this.#presence.leave(channel.key, memberOf(connection, grant));
  }

  /** From now on a subscriber's new right counts. */
  regrant(connection: Connection, channel: LocalChannel, grant: Grant): void {
    const before = connection.grants?.get(channel);
    const former = isMember(channel, before) ? memberOf(connection, before) : undefined;
    connection.keepGrant(channel, grant);
    const now = isMember(channel, grant) ? memberOf(connection, grant) : undefined;
    if (now === undefined) {
      if (former !== undefined) this.#presence.leave(channel.key, former);
    } else if (former === undefined || former.info !== now.info || former.user !== now.user) {
      this.#presence.join(channel.key, now);
    }
  }

  /**
   * Makes a connection a member of a channel that it does not hear yet. Where it is no subscriber by the end, it leaves again.
   * @throws StarlingError channel_limit, unavailable, outcome_unknown
   */
  async arrive(
    connection: Connection,
    channel: LocalChannel,
    grant: Grant,
    asked: MembersAsked,
  ): Promise<Arrival> {
    if (!isMember(channel, grant)) throw notYet(channel);
    const member = memberOf(connection, grant);
    const open: OpenArrival = { members: [], users: 0 };
    const end = (): void => {
      const arrivals = this.#arrivals.get(channel);
      arrivals?.delete(open);
      if (arrivals?.size === 0) this.#arrivals.delete(channel);
      const subscribes = !connection.isClosed && smallSet.has(connection.channels, channel);
      if (!subscribes) this.#presence.leave(channel.key, member);
      // It may have been one before, by another right.
      else this.show(connection, channel);
    };
    let entered = false;
    try {
      entered = await this.#presence.enter(channel.key, member, asked, (page) => {
        open.members = page.members;
        open.users = page.users;
        const arrivals = this.#arrivals.get(channel) ?? new Set();
        this.#arrivals.set(channel, arrivals.add(open));
      });
      if (!entered) {
        // To find out took as much as to let it in.
        connection.charge({ items: asked.usersMost, bytes: 0 });
        throw full(channel, asked);
      }
    } finally {
      if (!entered) end();
    }
    const page = {
      get members() {
        return open.members;
      },
      get connections() {
        return open.members.length;
      },
      get users() {
        return open.users;
      },
    };
    return { page, end };
  }

  /** Tells a channel's members here who came, went or shows other info. */
  event({ key, kind, member }: PresenceEvent): void {
    const channel = this.#options.channels.get(key);
    if (channel?.rules.joinLeave !== true) return;
    for (const arrival of this.#arrivals.get(channel) ?? NO_ARRIVALS) apply(arrival, kind, member);
    const own =
      member.user === null || channel.topics.every(tellsAll)
        ? NO_CONNECTIONS
        : this.#ownOf(channel, member.user);
    this.#options.fanOut.notify(channel, { kind, member }, own);
  }

  /** The user's connections that hear the channel: one has none when it joins or leaves, but where its node was taken for dead. */
  #ownOf(channel: LocalChannel, user: string): readonly Connection[] {
    const own: Connection[] = [];
    for (const id of this.#presence.connectionsHere(channel.key, user)) {
      const connection = this.#options.connections.get(id);
      if (connection === undefined || connection.isClosed || connection.skipped?.has(channel) === true)
        continue;
      if (smallSet.has(connection.channels, channel)) own.push(connection);
    }
    return own;
  }

  /** Joins and leaves may have been missed: members get a snapshot. @throws StarlingError unavailable, outcome_unknown */
  async tellAll(): Promise<void> {
    for (const channel of [...this.#options.channels.values()]) {
      if (!channel.rules.joinLeave) continue;
      await this.#presence.members(channel.key, READ_LIMIT_MAX, (page) => {
        for (const arrival of this.#arrivals.get(channel) ?? NO_ARRIVALS) {
          arrival.members = page.members;
          arrival.users = page.users;
        }
        this.#options.fanOut.notify(channel, this.#snapshotOf(page));
      });
    }
  }

  /** One member missed joins and leaves. @throws StarlingError unavailable, outcome_unknown */
  async tell(connection: Connection, channel: LocalChannel): Promise<void> {
    await this.#presence.members(channel.key, READ_LIMIT_MAX, (page) => {
      if (!smallSet.has(connection.channels, channel) || connection.isClosed) return;
      connection.notify({ kind: "members", channel: channel.name, snapshot: this.#snapshotOf(page) });
    });
  }

  #snapshotOf({ members, connections, users }: PresencePage): PresenceSnapshot {
    const first = membersWithin(members, this.#options.pageBytes).members;
    return { kind: "presence", members, first, connections, users };
  }
}

function full({ name }: LocalChannel, { usersMost, by }: MembersAsked): StarlingError {
  return new StarlingError(
    "channel_limit",
    `channel ${quote(name)} is full: it has ${usersMost} members (${by})`,
  );
}

/** Its rules were changed, and hold once nobody subscribes to it here. */
function notYet({ name }: LocalChannel): StarlingError {
  return new StarlingError(
    "unavailable",
    `channel ${quote(name)} has no presence on this node as long as those subscribe who came before it had: try again later`,
  );
}

function tellsAll({ subscribers, served }: ChannelTopic): boolean {
  return subscribers === 0 || served.framing.tellsUserOfItself;
}

const NO_CONNECTIONS: readonly Connection[] = [];
const NO_ARRIVALS: readonly OpenArrival[] = [];

function apply(arrival: OpenArrival, kind: PresenceEvent["kind"], member: PresenceMember): void {
  const isSame = (other: PresenceMember): boolean =>
    member.user === null ? other.connection === member.connection : other.user === member.user;
  switch (kind) {
    case "join":
      arrival.members = [...arrival.members, member];
      arrival.users++;
      break;
    case "leave":
      arrival.members = arrival.members.filter((other) => !isSame(other));
      arrival.users--;
      break;
    case "update":
      arrival.members = arrival.members.map((other) =>
        other.connection === member.connection ? member : other,
      );
      break;
  }
}

/** Of a subscriber by this grant. */
function isMember({ rules }: LocalChannel, grant: Grant | undefined): boolean {
  return rules.presence && grant?.narrowed?.presence !== false;
}

function memberOf({ id, userId, identity }: Connection, grant: Grant | undefined): PresenceMember {
  if (grant?.user !== undefined) {
    const { user, userIsNumber, info } = grant;
    return {
      connection: id,
      user,
      ...(userIsNumber ? { userIsNumber } : undefined),
      ...(info === undefined ? undefined : { info }),
    };
  }
  const info = grant?.info ?? identity?.info;
  return info === undefined ? { connection: id, user: userId } : { connection: id, user: userId, info };
}
