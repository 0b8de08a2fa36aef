/** What a run asks of its clients, however they are made. */

import type { Evidence, Position, PublicationRecord } from "./checker.js";
import type { PassingPublication, PassingSight } from "./passing-checker.js";
import type { ClaimRecord } from "./registry-checker.js";
import type { Random } from "./random.js";

export type Recorded = Evidence | ClaimRecord | PassingSight;

export interface Identity {
  readonly user: string;
  readonly token: string;
  /** What the token has it show of itself, as JSON; undefined: what others show is not looked at. */
  readonly info?: string | undefined;
}

export interface RecordingClientOptions {
  readonly name: string;
  readonly urls: readonly string[];
  readonly channels: readonly string[];
  /** More channels, without history. */
  readonly passing?: readonly string[] | undefined;
  /** Who it is, with a token that says so; anonymous where the nodes ask for none. */
  readonly identity?: Identity | undefined;
  /** Whether it keeps rosters of its channels and records them. */
  readonly rosters?: boolean | undefined;
  readonly random: Random;
  readonly record: (evidence: Recorded) => void;
  /** Told of what must not happen and is in no record. */
  readonly trouble: (what: string) => void;
}

export interface RecordingClient {
  readonly name: string;
  readonly channels: readonly string[];
  /** Connected, and every channel is held, also those without history. */
  readonly ready: boolean;
  /** Whether it can publish now. */
  readonly connected: boolean;
  /** Publications that were not settled yet. */
  readonly unsettled: number;
  /** Connections that it has had. */
  readonly connects: number;
  /** Connections that were closed because another has their session. */
  readonly superseded: number;
  standsAt(channel: string): Position | undefined;
  /** Settles with what happened. An answer that was lost is asked for again, while the session lives. */
  publish(id: string, channel: string, filler?: string): Promise<PublicationRecord>;
  /** To a channel without history: never repeated. */
  publishPassing(id: string, channel: string): Promise<PassingPublication["outcome"]>;
  /** Reads nothing for a while. */
  pause(ms: number): void;
  /** Loses its connection without a word. */
  drop(): void;
  /** Records how it stands, and leaves. */
  end(): void;
}

/** How long a publication whose answer was lost is worth repeating: well within the server's window. */
export const REPEAT_WITHIN_MS = 20_000;
export const PUBLISH_ATTEMPTS_MAX = 4;
/** Errors after which a publication may have happened; after every other it has not. */
export const MAYBE_PUBLISHED: ReadonlySet<string> = new Set([
  "outcome_unknown",
  "internal",
  "timeout",
  "closed",
]);

/** For a roster's record: what members show, as JSON, where the run is about that. */
export function infosOf(
  members: readonly object[],
  identity: Identity | undefined,
): { readonly infos?: readonly (string | null)[] } {
  if (identity?.info === undefined) return {};
  const infos = members.map((member) => {
    const { info } = member as { readonly info?: unknown };
    return info === undefined ? null : JSON.stringify(info);
  });
  return { infos };
}

export function idOf(content: unknown): string {
  return String((content as { id?: unknown } | null)?.id);
}
