/** How the generator speaks to a kind of server. Deliveries are found by their marker (load/marker.ts), never parsed. */

import type { ProtocolName } from "../types.js";

/** What a frame without a marker is. */
export type Heard =
  /** The server greets. Answered by `hello` where the protocol has one, else the connection may subscribe. */
  | "greeting"
  /** The answer to `hello`: the connection may subscribe. */
  | "ready"
  /** A command was taken. */
  | "reply"
  /** A command, or the connection, was refused. */
  | "error"
  /** Answered by `pong`. */
  | "ping"
  | "other";

export interface Protocol {
  readonly name: ProtocolName;
  /** Path and query of the upgrade request. */
  readonly path: string;
  readonly subprotocol?: string;
  /** Whether the client's frames are binary. */
  readonly binary: boolean;
  readonly hello?: Buffer;
  readonly pong?: Buffer;
  subscribe(channel: string): Buffer;
  /** @param acknowledged asks for a reply */
  publish(channel: string, content: string, acknowledged: boolean): Buffer;
  /** Proves who the client is; absent: the protocol knows no tokens. */
  authenticate?(token: string): Buffer;
  /** Asks who is in the channel. */
  presence?(channel: string): Buffer;
  classify(payload: Buffer): Heard;
}
