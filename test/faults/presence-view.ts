/** What a run leaves of presence channels, and what a tab believes of who is there. For presence-checker.ts. */

import type { Span } from "./spans.js";

/** Told once, before what it saw. */
export interface PresenceTab {
  readonly kind: "presence-tab";
  readonly tab: string;
  readonly user: string;
  readonly node: string;
  /** Whether its protocol tells a user of itself, as the native one does. */
  readonly hearsOfItself: boolean;
}

/** Of one tab in its order. */
export type PresenceSight = {
  readonly kind: "presence-sight";
  readonly tab: string;
  readonly channel: string;
  readonly atMs: number;
} & (
  | { readonly what: "asked" }
  | { readonly what: "whole"; readonly users: readonly string[]; readonly count: number }
  | { readonly what: "added" | "removed"; readonly user: string }
  /** In what was told with it a user shows something else than it does. */
  | { readonly what: "odd"; readonly user: string; readonly shown: string }
  /** abrupt: its connection was lost, and it did not want that. */
  | { readonly what: "left"; readonly abrupt: boolean }
);

/**
 * kill: a node was killed. stall: a node stood still for longer than its lease. cut: a node's connections to Redis were
 * reset. loss: Redis lost the record.
 */
export interface PresenceHarm {
  readonly kind: "presence-harm";
  readonly what: "kill" | "stall" | "cut" | "loss";
  readonly node: string | undefined;
  readonly startMs: number;
  readonly endMs: number;
}

/** From here on nobody does anything, and everybody has been told. */
export interface PresenceEnd {
  readonly kind: "presence-end";
  readonly atMs: number;
}

export type PresenceEvidence = PresenceTab | PresenceSight | PresenceHarm | PresenceEnd;

/** What is wrong with what a tab was told, whatever the truth is. */
interface Surprise {
  readonly failure: "doubled" | "toldItself" | "counts" | "infos";
  readonly atMs: number;
  readonly detail: string;
}

/** One subscription of a tab. */
export interface View {
  readonly tab: PresenceTab;
  readonly channel: string;
  readonly askedMs: number;
  /** Infinity: it was not answered. */
  heldMs: number;
  leftMs: number;
  abrupt: boolean;
  /** Who it believes is there, since when. */
  readonly present: Map<string, number>;
  /** When it believed somebody there who is not any more. */
  readonly past: Map<string, Span[]>;
  readonly told: { readonly what: "added" | "removed"; readonly user: string; readonly atMs: number }[];
  readonly wholes: { readonly users: ReadonlySet<string>; readonly atMs: number }[];
  readonly surprises: Surprise[];
  count: number;
}

export function viewOf(tab: PresenceTab, channel: string, askedMs: number): View {
  return {
    ...{ tab, channel, askedMs, heldMs: Infinity, leftMs: Infinity, abrupt: false, count: 0 },
    ...{ present: new Map(), past: new Map(), told: [], wholes: [], surprises: [] },
  };
}

export function takeWhole(view: View, users: readonly string[], count: number, atMs: number): void {
  if (view.heldMs === Infinity) view.heldMs = atMs;
  const list = new Set(users);
  for (const [user, sinceMs] of view.present) if (!list.has(user)) end(view, user, sinceMs, atMs);
  for (const user of list) if (!view.present.has(user)) view.present.set(user, atMs);
  view.wholes.push({ users: list, atMs });
  view.count = count;
  if (count === users.length && list.size === users.length) return;
  const detail = `was told ${count} with a list of ${users.length}, of which ${list.size} differ`;
  view.surprises.push({ failure: "counts", atMs, detail });
}

export function takeChange(view: View, what: "added" | "removed", user: string, atMs: number): void {
  const { tab, present, surprises } = view;
  view.told.push({ what, user, atMs });
  if (user === tab.user && !tab.hearsOfItself)
    surprises.push({ failure: "toldItself", atMs, detail: `was told at ${atMs} that itself was ${what}` });
  const sinceMs = present.get(user);
  if ((sinceMs !== undefined) === (what === "added")) {
    surprises.push({ failure: "doubled", atMs, detail: `was told at ${atMs} that ${user} was ${what}` });
    return;
  }
  view.count += what === "added" ? 1 : -1;
  if (sinceMs === undefined) present.set(user, atMs);
  else end(view, user, sinceMs, atMs);
}

function end(view: View, user: string, fromMs: number, toMs: number): void {
  view.present.delete(user);
  const past = view.past.get(user);
  if (past === undefined) view.past.set(user, [{ fromMs, toMs }]);
  else past.push({ fromMs, toMs });
}

export function beliefOf({ present, past }: View, user: string): readonly Span[] {
  const fromMs = present.get(user);
  const before = past.get(user) ?? [];
  return fromMs === undefined ? before : [...before, { fromMs, toMs: Infinity }];
}
