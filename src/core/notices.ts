/** What the server itself has to say. Protocols put notices into frames, or leave them out. */

import type { Position } from "./publication.js";
import type { Closing } from "./closing.js";
import type { StarlingError } from "./errors.js";
import type { JoinOutcome } from "./channel-feed.js";
import type { PresenceMember } from "./presence.js";

/** A run of a client's frames by their numbers: each connection's first is 1. */
export interface DroppedFrames {
  readonly from: number;
  readonly to: number;
}

/** To all subscribers of a channel. */
export type ChannelNotice =
  /** Something was not delivered. What followed is lost up to `position`; undefined: the channel has no positions. */
  | { readonly kind: "gap"; readonly position: Position | undefined }
  /** A user came with a first connection, or left with the last. */
  | { readonly kind: "join" | "leave"; readonly member: PresenceMember }
  /** What is known of a user from now on: what this connection shows. */
  | { readonly kind: "update"; readonly member: PresenceMember }
  | PresenceSnapshot
  /** How many subscribe to it, over all nodes. */
  | { readonly kind: "subscribers"; readonly count: number };

/** Who is there, after joins and leaves may have been lost. */
export interface PresenceSnapshot {
  readonly kind: "presence";
  /** For clients that cannot ask for the rest. */
  readonly members: readonly PresenceMember[];
  /** As many of them as one answer holds. */
  readonly first: readonly PresenceMember[];
  readonly connections: number;
  readonly users: number;
}

/** application: it said so; identity: the connection has another, which does not cover it; expired: the right was over. */
export type RevokeReason = "application" | "identity" | "expired";

/** To one connection. */
export type Notice =
  | {
      readonly kind: "error";
      readonly error: StarlingError;
      /** The protocol's own name of the frame that failed, as it gave it; undefined: of none, or it has none. */
      readonly ref: unknown;
      /** These frames were not acted upon. */
      readonly dropped?: DroppedFrames;
    }
  /** A subscription was taken away. */
  | {
      readonly kind: "revoked";
      readonly channel: string;
      readonly reason: RevokeReason;
      readonly message: string;
    }
  /** A slow reader is given what it missed: `outcome.missed` follows. */
  | {
      readonly kind: "repaired";
      readonly channel: string;
      readonly outcome: JoinOutcome;
      /** Whether nothing stays missing. */
      readonly recovered: boolean;
    }
  | { readonly kind: "members"; readonly channel: string; readonly snapshot: PresenceSnapshot }
  /** The connection closes right after this. */
  | { readonly kind: "closing"; readonly closing: Closing };
