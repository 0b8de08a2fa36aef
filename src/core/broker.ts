/**
 * What core needs of the bus that carries publications to every node, itself
 * included. memory/ and redis/ implement it; test/contract/broker.ts holds both
 * to the promises below.
 */

import type { StarlingError } from "../protocol/errors.js";
import type { Payload, Position, Sender, Tags } from "../protocol/messages.js";

/** A channel's name on the bus: `app/name`. An app id has no slash, so the first one splits. */
export type ChannelKey = string;

/** A publication on its way to the bus. */
export interface PublishRequest {
  readonly key: ChannelKey;
  /** Owned by the request: it outlives the frame that it came in. */
  readonly payload: Payload;
  readonly from: Sender | undefined;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  /** Id of the connection that is not to receive it. */
  readonly exclude: string | undefined;
  /**
   * Called once. No failure: the bus has it, at `position` where the channel
   * keeps history. unavailable: nothing was sent. unknown: it was sent and the
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
  /** Wall clock of the publishing node, milliseconds since 1970, when its batch was opened. */
  readonly publishedAtMs: number;
}

export interface BrokerHandlers {
  /** Never called from inside publish: a publisher's own publications come back later too. */
  publication(publication: BusPublication): void;
  /** The link to the bus came up (subscribed and probed) or went down. */
  link(up: boolean): void;
}

/**
 * Delivery is at most once and in order within a channel as every node sees it.
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
  /** Sends what is queued, waits at most a command time-out, closes the link. */
  stop(): Promise<void>;
}
