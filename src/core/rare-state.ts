import type { Position } from "./publication.js";
import type { Closing } from "./closing.js";
import type { Grant } from "./grant.js";
import type { LocalChannel } from "./channel.js";
import type { Overrun } from "./overrun.js";
import type { PendingFrames } from "./pending-frames.js";

/** State that few connections have at a time: as fields it would cost every connection 40 bytes. */
export interface RareState {
  /** Given with the upgrade, until it is looked at. */
  proof: string | undefined;
  skipped: Map<LocalChannel, Position | undefined> | undefined;
  restoring: readonly string[] | undefined;
  revoked: Set<Set<string>> | undefined;
  leaving: Map<string, Promise<void>> | undefined;
  grants: Map<LocalChannel, Grant> | undefined;
  pending: PendingFrames | undefined;
  overrun: Overrun | undefined;
  /** Code with which the client closed while frames of it still wait; cleanup follows once they are taken. */
  closedWith: number | undefined;
  /** Why this node closes it, until it is closed. */
  closing: Closing | undefined;
  /** Bytes that were waiting when it was last pinged. */
  bufferedAtBeat: number | undefined;
  /** What its protocol keeps of it, where there is something to keep. */
  protocolState: object | undefined;
}

const NOTHING: Readonly<RareState> = {
  proof: undefined,
  skipped: undefined,
  restoring: undefined,
  revoked: undefined,
  leaving: undefined,
  grants: undefined,
  pending: undefined,
  overrun: undefined,
  closedWith: undefined,
  closing: undefined,
  bufferedAtBeat: undefined,
  protocolState: undefined,
};

/** Sets a field of it; undefined clears one. @returns undefined where no field is left */
export function withRare<Name extends keyof RareState>(
  state: RareState | undefined,
  name: Name,
  value: RareState[Name],
): RareState | undefined {
  if (state === undefined && value === undefined) return undefined;
  const changed = state ?? { ...NOTHING };
  changed[name] = value;
  if (value !== undefined) return changed;
  return Object.values(changed).every((field) => field === undefined) ? undefined : changed;
}
