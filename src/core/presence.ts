/**
 * What core needs of the shared record of who is in a channel. memory/ and redis/ implement it;
 * test/contract/presence.ts holds both to the promises below.
 *
 * A user joins a channel with the first of its connections there and leaves with the last, after a
 * grace in which it may come back unnoticed. An anonymous connection is a member of its own.
 */

import type { ChannelKey } from "./broker.js";

export interface PresenceMember {
  readonly connection: string;
  /** null: anonymous. */
  readonly user: string | null;
}

export interface PresenceEvent {
  readonly key: ChannelKey;
  readonly kind: "join" | "leave";
  /** The connection that was the user's first, or last. */
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

export interface PresenceCounts {
  readonly connections: number;
  /** An anonymous connection counts as one. */
  readonly users: number;
}

export interface PresencePage extends PresenceCounts {
  /** Every connection, at most the limit that was asked or the store's own. */
  readonly members: readonly PresenceMember[];
}

/** Joins and leaves are queued and leave in batches. No member outlives its time-to-live unrefreshed. */
export interface PresenceStore {
  start(handlers: PresenceHandlers): Promise<void>;
  join(key: ChannelKey, member: PresenceMember): void;
  leave(key: ChannelKey, member: PresenceMember): void;
  /** @throws StarlingError unavailable, unknown */
  members(key: ChannelKey, limit: number): Promise<PresencePage>;
  /** @throws StarlingError unavailable, unknown */
  counts(key: ChannelKey): Promise<PresenceCounts>;
  /** Writes what is queued and takes this node's members out, each as if it had left. */
  stop(): Promise<void>;
}
