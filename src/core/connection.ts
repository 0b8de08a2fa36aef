/** What core knows of a connection, which is one socket of one client. client-connection.ts is it. */

import type { App } from "./app.js";
import type { Client, Identity } from "./authorizer.js";
import type { LocalChannel } from "./channel.js";
import type { CloseReason, Closing } from "./closing.js";
import type { StarlingError } from "./errors.js";
import type { Grant } from "./grant.js";
import type { SmallSet } from "./small-set.js";
import type { FramingInUse } from "./framing.js";
import type { Notice } from "./notices.js";
import type { Position } from "./publication.js";
import type { ConnectionRecord, RegisteredConnection } from "./registry.js";
import type { SendResult } from "./transport.js";

export interface Connection extends RegisteredConnection, Client {
  readonly app: App;
  readonly served: FramingInUse;
  /** undefined: it must authenticate first. Changed by users.ts. */
  identity: Identity | undefined;
  /** null: not identified. */
  readonly userId: string | null;
  readonly isClosed: boolean;
  /** Whether its client stays away for as long as a close tells it. */
  readonly obeysRetryAfter: boolean;
  sessionId: string;
  readonly resumeToken: string;
  /** Frames that came, numbered from 1. */
  readonly framesIn: number;

  /** Changed by the hub. */
  channels: SmallSet<LocalChannel>;
  /** Channels that it is kept off while it reads what waits for it, and where it stands in each. */
  skipped: Map<LocalChannel, Position | undefined> | undefined;
  /** Channels of its session that it is about to join again. */
  restoring: readonly string[];
  /** By each that waits to join channels: those that the application took away meanwhile; undefined: nothing waits. */
  revoked: Set<Set<string>> | undefined;
  /**
   * Channels whose unsubscribe is yet to be recorded, or the right to which is asked for: who subscribes next is
   * answered after that.
   */
  leaving: Map<string, Promise<void>> | undefined;
  /** By which it subscribes to channels, where they say more than GRANT_BY_IDENTITY. */
  readonly grants: ReadonlyMap<LocalChannel, Grant> | undefined;
  /** Unix seconds at which the first of its identity and its grants ends; undefined: none does. */
  readonly nextEnd: number | undefined;

  /** It subscribes to a channel of its by this right from now on; undefined: it does no more. Called by the hub. */
  keepGrant(channel: LocalChannel, grant: Grant | undefined): void;
  record(): ConnectionRecord;
  channelNames(): readonly string[];

  /** Puts it on a channel's topic. */
  joinTopic(channel: LocalChannel): void;
  /** Takes it off a channel's topic. */
  leaveTopic(channel: LocalChannel): void;
  /** To all on a topic that it is on, but it. */
  publishToOthers(topic: string, frame: Uint8Array, binary: boolean): void;
  notify(notice: Notice): void;
  /** A publication of this client is done with. @param ref  as it was published with */
  published(ref: unknown, failure: StarlingError | undefined, position: Position | undefined): void;
  /** Does not check the backlog: after several frames in a row call checkBuffered. */
  sendFrame(frame: Uint8Array): SendResult;
  /** Bytes buffered in this process for the client. */
  bufferedBytes(): number;
  checkBuffered(): void;
  closeSlow(): void;
  /** Asked by the expiry when a second is over at which this connection may have run out. */
  expired(): void;
  /** What an answer cost beyond its request counts towards the rate limit. */
  charge(cost: { readonly items: number; readonly bytes: number }): void;
  /** Forgets the frames that still wait. @returns which they were */
  dropPending(): { readonly from: number; readonly to: number } | undefined;
  /** Says why, closes, and forgets. */
  close(reason: CloseReason, details?: Partial<Omit<Closing, "reason">>): void;
}
