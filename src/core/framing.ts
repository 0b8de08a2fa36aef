import type { ChannelNotice } from "./notices.js";
import type { Publication } from "./publication.js";
import type { FramingStats } from "./stats.js";
import type { Topics } from "./transport.js";

/** How the frames of one protocol in one encoding look. Stateless; frames are valid until the next one is made. */
export interface Framing {
  /** Unique in its protocol; the label `codec` of metrics. */
  readonly name: string;
  /** What its topics begin with: unique among all framings of a node. */
  readonly topicPrefix: string;
  /** Whether its frames are binary WebSocket frames. */
  readonly binary: boolean;
  /**
   * Whether its clients count offsets. Then an exclusion is not obeyed where a publication has a position: they would
   * take it for a loss.
   */
  readonly positions: boolean;
  /** Whether a user's own connections are told that it joined or left, as is seen where its node was taken for dead. */
  readonly tellsUserOfItself: boolean;
  /** What the publications of a channel begin with: made once. Its memory is its own. */
  head(channel: string): Uint8Array;
  /** @param head  of its channel, as `head` made it */
  publication(head: Uint8Array, publication: Publication): Uint8Array;
  /** undefined: clients are not told. */
  notice(channel: string, notice: ChannelNotice): Uint8Array | undefined;
}

/** A framing on one node, with its counts: what its connections and topics have in common. */
export interface FramingInUse {
  readonly framing: Framing;
  readonly counts: FramingStats;
  /** Of the transport that its connections come by. */
  readonly topics: Topics;
}
