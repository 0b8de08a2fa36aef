/** What a node keeps of a Pusher connection besides what it keeps of any, where there is something to keep. */

import type { ProtocolConnection } from "../../core/protocol.js";
import type { TokenBucket } from "../../core/token-bucket.js";

export interface SignedIn {
  readonly id: string;
  /** JSON of what the user shows where a presence channel asks for no more. */
  readonly info: string | undefined;
}

interface State {
  user: SignedIn | undefined;
  /** Of its client events; undefined: it sent none. */
  events: TokenBucket | undefined;
}

export function stateOf(connection: ProtocolConnection): Readonly<State> | undefined {
  return connection.protocolState as State | undefined;
}

/** To be changed. */
export function keptStateOf(connection: ProtocolConnection): State {
  const kept = stateOf(connection) ?? { user: undefined, events: undefined };
  connection.protocolState = kept;
  return kept;
}
