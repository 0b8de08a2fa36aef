/** The wire protocols that a node speaks, in the order in which they are offered an upgrade. */

import type { Protocol } from "../core/protocol.js";
import { createPusherProtocol } from "./pusher/protocol.js";
import { starlingProtocol } from "./starling/protocol.js";

export interface ProtocolOptions {
  /** What stands before `/app/...` in the path of Pusher clients; "" for none. */
  readonly pusherPath: string;
}

/** The native protocol takes what no other knows as its own. */
export function createProtocols({ pusherPath }: ProtocolOptions): readonly Protocol[] {
  return [createPusherProtocol({ prefix: pusherPath }), starlingProtocol];
}
