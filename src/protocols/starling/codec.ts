import type { Command, CommandId, HistoryAnswer, ServerMessage } from "./messages.js";
import type { Encoding } from "../../encoding/payload.js";
import type { Publication } from "../../core/publication.js";

/**
 * One wire format of the native protocol. Codecs only translate: they hold no
 * state of a connection and decide nothing.
 */
export interface Codec {
  readonly name: string;
  /** What names this codec in a topic: one character. */
  readonly topicPrefix: string;
  readonly subprotocol: string;
  /** Whether its frames are binary WebSocket frames. */
  readonly binary: boolean;
  /** How the payloads in its frames are encoded. */
  readonly encoding: Encoding;
  /** @throws StarlingError bad_frame, bad_request or too_large */
  decode(frame: Uint8Array): Command;
  /** The result is only valid until the next call: hand it on in the same turn. */
  encode(message: ServerMessage): Uint8Array;
  /** What the publications of a channel begin with: made once, as it is half of a small one. */
  readonly head: (channel: string) => Uint8Array;
  /** As encode. @param head  of its channel, as `head` made it */
  readonly encodePublication: (head: Uint8Array, publication: Publication) => Uint8Array;
  /** The reply to `history`: content goes in as encodePublication has it. As encode. */
  encodeHistory(id: CommandId, answer: HistoryAnswer): Uint8Array;
}
