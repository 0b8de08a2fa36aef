/**
 * What core needs of the shared record of who is in a channel. memory/ and redis/ implement it;
 * test/contract/presence.ts holds both to the promises below.
 *
 * A user joins a channel with the first of its connections there and leaves with the last, after a
 * grace in which it may come back unnoticed. An anonymous connection is a member of its own.
 *
 * Each connection may show info. An update is told whenever one shows another than before, and whenever it would
 * else be unknown what a user shows: what was told of a user last is what one of its connections shows, or the last
 * one showed that is in its grace.
 */

import type { ChannelKey } from "./broker.js";

export interface PresenceMember {
  readonly connection: string;
  /** null: anonymous. */
  readonly user: string | null;
  /** Whether the user's id was given as a number: the same id as a text is the same user. */
  readonly userIsNumber?: true | undefined;
  /** JSON of what it shows of itself, as encodeMemberInfo makes it. */
  readonly info?: string | undefined;
}

export interface PresenceEvent {
  readonly key: ChannelKey;
  readonly kind: "join" | "leave" | "update";
  /**
   * The connection that was the user's first, or last, or the one whose info is told. Of a leave no info is told,
   * nor of a join where a node of the fleet would not understand it.
   */
  readonly member: PresenceMember;
}

export interface PresenceHandlers {
  /** On every node, this one too; in one order for a channel. */
  event(event: PresenceEvent): void;
  /**
   * Events may have been missed: the link to the bus was away, or the record was lost and has been
   * written again. Called once members() tells the whole truth anew. Never by memory/.
   */
  missed?(): void;
}

/** Whoever was told to have joined counts until told to have left: in its grace a user is present by its last connection. */
export interface PresenceCounts {
  readonly connections: number;
  /** An anonymous connection counts as one. */
  readonly users: number;
}

export interface PresencePage extends PresenceCounts {
  /**
   * Every connection, and the last one of each user in its grace; at most the limit that was asked or the store's own.
   * Where that leaves some out, one connection of each user.
   */
  readonly members: readonly PresenceMember[];
}

/** Joins and leaves are queued and written in batches. No member outlives its time-to-live unrefreshed. */
export interface PresenceStore {
  start(handlers: PresenceHandlers): Promise<void>;
  /** Of a member that is there already: from now on it shows this info. */
  join(key: ChannelKey, member: PresenceMember): void;
  leave(key: ChannelKey, member: PresenceMember): void;
  /** The connections of this node by which a user is in a channel. */
  connectionsHere(key: ChannelKey, user: string): readonly string[];
  /**
   * As join and then members, but where the channel has `usersMost` users and the member's is none of them: then it does
   * not come in, and nobody is told of it. That is decided where all nodes' joins are put into one order.
   * @param tell  as that of members; the member is in the page, where the page has each of them
   * @returns false: it did not come in
   * @throws StarlingError unavailable, outcome_unknown: it is to leave again
   */
  enter(
    key: ChannelKey,
    member: PresenceMember,
    room: { readonly usersMost: number; readonly limit: number },
    tell: (page: PresencePage) => void,
  ): Promise<boolean>;
  /**
   * `tell` is called before the promise resolves, at the page's place among the channel's events: what
   * event() was given before is in the page, what it is given afterwards is not.
   * @throws StarlingError unavailable, outcome_unknown
   */
  members(key: ChannelKey, limit: number, tell?: (page: PresencePage) => void): Promise<PresencePage>;
  /** @throws StarlingError unavailable, outcome_unknown */
  counts(key: ChannelKey): Promise<PresenceCounts>;
  /**
   * Another node died: its members leave, those excepted that are refreshed meanwhile. `stillDead` is asked
   * once they were looked up. Not in memory/.
   * @throws StarlingError unavailable, outcome_unknown
   */
  takeOut?(node: string, stillDead: () => Promise<boolean>): Promise<void>;
  /** Others may have taken this node for dead: its members are written again. Not in memory/. */
  writeAgain?(): void;
  /** Writes what is queued and takes this node's members out, each as if it had left. */
  stop(): Promise<void>;
}
