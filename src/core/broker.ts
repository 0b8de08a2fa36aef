/**
 * What core needs of the bus that carries publications to every node, itself
 * included. memory/ and redis/ implement it; test/contract/broker.ts holds both
 * to the promises below.
 */

import type { StarlingError } from "./errors.js";
import type { PublicationExtras } from "./extras.js";
import type { Payload } from "../encoding/payload.js";
import type { Position, Sender, Tags } from "./publication.js";

/** A channel's name on the bus: `app/name`. An app id has no slash, so the first one splits. */
export type ChannelKey = string;

/** How much of a channel is kept. */
export interface HistoryRule {
  /** Publications. */
  readonly size: number;
  readonly ttlMs: number;
  /** Payloads and what goes with them, about: the oldest are dropped. undefined: as many as `size` publications have. */
  readonly bytes?: number | undefined;
}

/** A publication on its way to the bus. */
export interface PublishRequest {
  readonly key: ChannelKey;
  /** Owned by the request: it outlives the frame that it came in. */
  readonly payload: Payload;
  readonly from: Sender | undefined;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  /** Id of the connection that is not to receive it. With history: where its framing has no positions. */
  readonly exclude: string | undefined;
  /** Checked by the broker: what cannot be taken is refused with bad_request. Nodes that read an older format get none. */
  readonly extras?: PublicationExtras | undefined;
  /** undefined: the channel keeps no history, and the publication gets no position. */
  readonly history?: HistoryRule | undefined;
  /**
   * Makes a repetition once, where the channel keeps history: a second request of the
   * same key and messageId within the broker's window is not published and is settled with
   * the position of the first. Scoped by the caller to who may repeat it.
   */
  readonly messageId?: string | undefined;
  /**
   * Called once. No failure: the bus has it, at `position` where the channel
   * keeps history. bad_request, unavailable: nothing was sent. outcome_unknown: it was sent and the
   * answer is missing.
   */
  settle(failure: StarlingError | undefined, position: Position | undefined): void;
}

/** A publication as it comes back from the bus. Its bytes are valid during the call. */
export interface BusPublication {
  readonly key: ChannelKey;
  readonly payload: Payload;
  readonly from: Sender | undefined;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
  readonly position: Position | undefined;
  readonly extras?: PublicationExtras | undefined;
  /** Wall clock of the publishing node, milliseconds since 1970, when its batch was opened. */
  readonly publishedAtMs: number;
}

/** A stretch of a channel's history and where the channel stands. */
export interface HistoryPage {
  /** Oldest first unless asked in reverse. Their bytes are their own. */
  readonly publications: readonly BusPublication[];
  /** Of the last publication; offset 0: none yet. */
  readonly top: Position;
  /** There is more of what was asked for behind the last publication: the page was full. */
  readonly more?: boolean;
}

export interface HistoryQuery {
  readonly rule: HistoryRule;
  /**
   * What follows this position, or in reverse what stands before it. Of another epoch than the
   * channel's: no publications. undefined: from the oldest, or in reverse from the newest.
   */
  readonly since: Position | undefined;
  readonly limit: number;
  readonly reverse: boolean;
  /** The page ends with the publication that brings its payloads to so many bytes, or soon after; absent: the store's own limit. */
  readonly maxBytes?: number | undefined;
  /** Nothing is stored for a channel that nobody used: it has another epoch each time that it is asked for. */
  readonly peek?: boolean | undefined;
}

export interface BrokerHandlers {
  /** Never called from inside publish: a publisher's own publications come back later too. */
  publication(publication: BusPublication): void;
  /** Whether the channel has subscribers on this node: a publication without any need not be decoded. */
  hasSubscribers(key: ChannelKey): boolean;
  /** The link to the bus came up (subscribed and probed) or went down. */
  link(up: boolean): void;
}

/**
 * Delivery is at most once and in order within a channel as every node sees it. Where a channel
 * keeps history, the offset is given in the same atomic step that appends and publishes: from 1,
 * no gaps. The epoch changes whenever the channel may have lost what it once acknowledged.
 */
export interface Broker {
  /** Resolves when the link is up. */
  start(handlers: BrokerHandlers): Promise<void>;
  /** Queues in this turn of the loop; settles the request once the bus answered or failed. */
  publish(request: PublishRequest): void;
  /**
   * Called before a channel's first local subscriber; delivery is certain once
   * it resolved. undefined: already certain, nothing to wait for.
   */
  subscribe(key: ChannelKey): Promise<void> | undefined;
  /** Called after a channel's last local subscriber left. */
  unsubscribe(key: ChannelKey): void;
  /**
   * Reads a channel that keeps history: what this node published before is in it. The epoch is checked against the server as it is now.
   * @throws StarlingError unavailable, outcome_unknown
   */
  history(key: ChannelKey, query: HistoryQuery): Promise<HistoryPage>;
  /**
   * Where these channels stand, in their order: one round trip for many.
   * @throws StarlingError unavailable, outcome_unknown
   */
  positions(
    channels: readonly { readonly key: ChannelKey; readonly rule: HistoryRule }[],
  ): Promise<readonly Position[]>;
  /** Sends what is queued, waits at most a command time-out, closes the link. */
  stop(): Promise<void>;
}
