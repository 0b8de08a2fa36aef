/** What a node keeps of a Pusher connection besides what it keeps of any, where there is something to keep. */

import type { StarlingError } from "../../core/errors.js";
import type { ProtocolConnection } from "../../core/protocol.js";
import type { TokenBucket } from "../../core/token-bucket.js";

export interface SignedIn {
  readonly id: string;
  /** JSON of what the user shows where a presence channel is told no more. */
  readonly info: string | undefined;
  /** Why a presence channel cannot show it. */
  readonly problem: StarlingError | undefined;
}

interface State {
  user: SignedIn | undefined;
  /** Of its client events; undefined: it sent none. */
  events: TokenBucket | undefined;
  /** What concerns its channels and waits, counted. */
  waiting: number;
}

export function stateOf(connection: ProtocolConnection): Readonly<State> | undefined {
  return connection.protocolState as State | undefined;
}

/** To be changed. */
export function keptStateOf(connection: ProtocolConnection): State {
  const kept = stateOf(connection) ?? { user: undefined, events: undefined, waiting: 0 };
  connection.protocolState = kept;
  return kept;
}

/** Counts what waits until it settled; it must not reject. @returns how many wait */
export function countWaiting(connection: ProtocolConnection, until: Promise<void>): number {
  const state = keptStateOf(connection);
  void until.then(() => {
    state.waiting--;
    const isNothing = state.waiting === 0 && state.user === undefined && state.events === undefined;
    if (isNothing && connection.protocolState === state) connection.protocolState = undefined;
  });
  return ++state.waiting;
}
