/**
 * Judges what clients were told of who is in a presence channel against who was: Pusher's clients, and native ones of
 * the same channels. It imports nothing of what it judges.
 *
 * The truth is when each tab, a connection of a user, asked for a channel, was answered, and left: between answer and
 * leaving the user is there for sure, before the question and after the leaving it is not. What a tab believes is the last
 * whole list that it was told and what was added and removed since. In between the two have so long to agree as
 * PresenceTimes says.
 *
 * Times are milliseconds since 1970 of one machine's clock.
 */

import { Truth, type PresenceTimes } from "./presence-truth.js";
import {
  beliefOf,
  takeChange,
  takeWhole,
  viewOf,
  type PresenceEvidence,
  type PresenceHarm,
  type PresenceSight,
  type PresenceTab,
  type View,
} from "./presence-view.js";
import { covers, intersect, subtract } from "./spans.js";

export const PRESENCE_FAILURES = {
  missing: "users who were there and were not told, or not in time",
  ghosts: "users who were gone and were not taken away, or not in time",
  doubled: "users who were added while they were there, or removed while they were not",
  spurious: "users who were removed although they were there, or back within the grace",
  toldItself: "users who were told of their own coming or going",
  counts: "counts that differ from the list",
  infos: "users who show something else than they do",
  stallsUntold: "users of a node that stood still of whom not one leave and one join were told",
  lossesUntold: "lists that were not told anew after the record or events were lost",
} as const;

export type PresenceFailure = keyof typeof PRESENCE_FAILURES;

export interface PresenceVerdict {
  readonly ok: boolean;
  readonly failures: Readonly<Record<PresenceFailure, number>>;
  readonly tabs: number;
  /** Whole lists, of which `again` to those who had one. */
  readonly wholes: number;
  readonly again: number;
  readonly added: number;
  readonly removed: number;
  /** Who was back within the grace, by user and channel. */
  readonly returns: number;
  /** The longest, of those that no harm explains. */
  readonly slowestMs: { readonly join: number; readonly leave: number; readonly abruptLeave: number };
  readonly details: readonly string[];
}

/** Who leaves so shortly before its node is killed may not have been heard. */
const UNHEARD_MS = 1_000;
const DETAILS_MAX = 30;

export class PresenceChecker {
  readonly #times: PresenceTimes;
  readonly #tabs = new Map<string, PresenceTab>();
  /** By tab and channel: the subscription that goes on. */
  readonly #open = new Map<string, View>();
  readonly #views: View[] = [];
  readonly #kills: PresenceHarm[] = [];
  /** All others. */
  readonly #harms: PresenceHarm[] = [];
  #endMs = Infinity;
  #failures: Record<PresenceFailure, number> = noFailures();
  #details: string[] = [];

  constructor(times: PresenceTimes) {
    this.#times = times;
  }

  add(evidence: PresenceEvidence): void {
    switch (evidence.kind) {
      case "presence-tab":
        this.#tabs.set(evidence.tab, evidence);
        break;
      case "presence-harm":
        if (evidence.what === "kill") this.#kills.push(evidence);
        else this.#harms.push(evidence);
        break;
      case "presence-end":
        this.#endMs = evidence.atMs;
        break;
      case "presence-sight":
        this.#see(evidence);
    }
  }

  #see(sight: PresenceSight): void {
    const { channel, atMs } = sight;
    const of = `${sight.tab} ${channel}`;
    const tab = this.#tabs.get(sight.tab);
    if (tab === undefined) throw new Error(`${sight.tab} saw something before it was there`);
    if (sight.what === "asked") {
      const view = viewOf(tab, channel, atMs);
      this.#open.set(of, view);
      this.#views.push(view);
      return;
    }
    const view = this.#open.get(of);
    // It left: what was on its way means nothing to it.
    if (view === undefined) return;
    if (sight.what === "left") {
      view.leftMs = atMs;
      view.abrupt = sight.abrupt;
      this.#open.delete(of);
      return;
    }
    if (sight.what === "odd") {
      const detail = `was told at ${atMs} that ${sight.user} shows ${sight.shown}`;
      view.surprises.push({ failure: "infos", atMs, detail });
      return;
    }
    if (sight.what === "whole") return takeWhole(view, sight.users, sight.count, atMs);
    if (view.heldMs < Infinity) takeChange(view, sight.what, sight.user, atMs);
  }

  verdict(): PresenceVerdict {
    this.#failures = noFailures();
    this.#details = [];
    for (const { node, startMs, endMs } of this.#kills) {
      const unheard = this.#views.filter(({ tab, leftMs }) => {
        return tab.node === node && startMs - UNHEARD_MS <= leftMs && leftMs <= endMs;
      });
      for (const view of unheard) view.abrupt = true;
    }
    const channels = groupBy(this.#views, ({ channel }) => channel);
    const slowestMs = { join: 0, leave: 0, abruptLeave: 0 };
    let returns = 0;
    for (const views of channels.values()) {
      const truths = this.#truthsOf(views);
      for (const truth of truths.values()) returns += truth.returns;
      for (const view of views) if (view.heldMs < Infinity) this.#judge(view, truths, slowestMs);
    }
    const held = this.#views.filter(({ heldMs }) => heldMs < Infinity);
    const told = held.flatMap((view) => view.told);
    const added = told.filter(({ what }) => what === "added").length;
    const wholes = held.reduce((sum, view) => sum + view.wholes.length, 0);
    const [again, removed] = [wholes - held.length, told.length - added];
    // A run in which nothing happened proves nothing.
    if (added === 0 || removed === 0)
      this.#details.unshift("nothing to judge: nobody was told to come or to go");
    const ok = added > 0 && removed > 0 && Object.values(this.#failures).every((count) => count === 0);
    const figures = { tabs: this.#tabs.size, wholes, again, added, removed, returns, slowestMs };
    return { ok, failures: this.#failures, ...figures, details: this.#details };
  }

  #fail(failure: PresenceFailure, detail: string): void {
    this.#failures[failure]++;
    if (this.#details.length < DETAILS_MAX) this.#details.push(`${failure}: ${detail}`);
  }

  #truthsOf(views: readonly View[]): ReadonlyMap<string, Truth> {
    const byUser = groupBy(views, ({ tab }) => tab.user);
    return new Map([...byUser].map(([user, own]) => [user, new Truth(own, this.#times, this.#harms)]));
  }

  #judge(view: View, truths: ReadonlyMap<string, Truth>, slowestMs: Slowest): void {
    const { joinWithinMs, aftermathMs } = this.#times;
    const { tab, channel, heldMs, leftMs } = view;
    const who = `${tab.tab} (${tab.user}, ${tab.node}) in ${channel}`;
    const deaf = this.#harms
      .filter(({ what, node }) => what === "loss" || node === tab.node)
      .map(({ startMs, endMs }) => ({ fromMs: startMs, toMs: endMs + aftermathMs }));
    const isDeafAt = (atMs: number): boolean =>
      deaf.some(({ fromMs, toMs }) => fromMs <= atMs && atMs <= toMs);
    const life = subtract([{ fromMs: heldMs, toMs: Math.min(leftMs, this.#endMs) }], deaf);
    for (const { failure, atMs, detail } of view.surprises) {
      if (failure === "toldItself" || !isDeafAt(atMs)) this.#fail(failure, `${who} ${detail}`);
    }
    for (const [user, truth] of truths) {
      const believed = beliefOf(view, user);
      for (const { fromMs, toMs } of subtract(intersect(life, truth.sure), believed)) {
        // Who was there before the question must be in its answer.
        const isFirst = fromMs === heldMs && covers(truth.sure, { fromMs: view.askedMs, toMs: heldMs });
        if (!isFirst && toMs - fromMs <= joinWithinMs) continue;
        this.#fail("missing", `${who} lacked ${user} for ${toMs - fromMs} ms from ${fromMs} on`);
      }
      for (const { fromMs, toMs } of subtract(intersect(life, believed), truth.possible)) {
        this.#fail("ghosts", `${who} had ${user} for ${toMs - fromMs} ms too long, from ${fromMs} on`);
      }
    }
    for (const user of new Set([...view.present.keys(), ...view.past.keys()])) {
      if (!truths.has(user)) this.#fail("ghosts", `${who} had ${user}, who never was there`);
    }
    for (const { what, user, atMs } of view.told) {
      const truth = truths.get(user);
      if (truth === undefined || isDeafAt(atMs)) continue;
      if (what === "added") {
        slowestMs.join = Math.max(slowestMs.join, truth.joinDelayMs(atMs, heldMs));
        continue;
      }
      const leave = truth.leaveToldAt(atMs);
      if (leave === undefined) this.#fail("spurious", `${who} was told at ${atMs} that ${user} went`);
      else if (!leave.stalled) {
        const name = leave.abrupt ? "abruptLeave" : "leave";
        slowestMs[name] = Math.max(slowestMs[name], leave.delayMs);
      }
    }
    for (const harm of this.#harms) this.#judgeHarm(view, harm, truths, who);
    if (leftMs > this.#endMs) this.#judgeEnd(view, truths, who);
  }

  /** What a tab that was there all the time had to be told of a harm. */
  #judgeHarm(view: View, harm: PresenceHarm, truths: ReadonlyMap<string, Truth>, who: string): void {
    const span = { fromMs: harm.startMs, toMs: harm.endMs + this.#times.aftermathMs };
    if (view.heldMs > span.fromMs || Math.min(view.leftMs, this.#endMs) < span.toMs) return;
    const within = ({ atMs }: { readonly atMs: number }): boolean => span.fromMs <= atMs && atMs <= span.toMs;
    if (harm.what === "loss" || (harm.what === "cut" && view.tab.node === harm.node)) {
      const last = view.wholes.findLast(within);
      if (last === undefined)
        return this.#fail(
          "lossesUntold",
          `${who} was told no list after the ${harm.what} at ${harm.startMs}`,
        );
      for (const [user, { sure }] of truths) {
        if (covers(sure, span) && !last.users.has(user))
          this.#fail(
            "missing",
            `${who} was told a list without ${user} after the ${harm.what} at ${harm.startMs}`,
          );
      }
      return;
    }
    if (harm.what === "cut" || view.tab.node === harm.node) return;
    for (const [user, truth] of truths) {
      if (!truth.stoodStill(harm, span)) continue;
      const told = view.told.filter((each) => each.user === user && within(each)).map(({ what }) => what);
      if (told.join() !== "removed,added")
        this.#fail("stallsUntold", `${who} was told of ${user}: ${told.join() || "nothing"}`);
    }
  }

  #judgeEnd(view: View, truths: ReadonlyMap<string, Truth>, who: string): void {
    const atMs = this.#endMs;
    const present = [...truths].filter(([, { sure }]) => covers(sure, { fromMs: atMs, toMs: atMs }));
    for (const [user] of present) {
      if (!view.present.has(user)) this.#fail("missing", `${who} lacks ${user} in the end`);
    }
    for (const user of view.present.keys()) {
      if (!present.some(([name]) => name === user)) this.#fail("ghosts", `${who} has ${user} in the end`);
    }
    if (view.count !== present.length)
      this.#fail("counts", `${who} counts ${view.count} in the end, not ${present.length}`);
  }
}

type Slowest = { join: number; leave: number; abruptLeave: number };

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

function noFailures(): Record<PresenceFailure, number> {
  return Object.fromEntries(Object.keys(PRESENCE_FAILURES).map((name) => [name, 0])) as Record<
    PresenceFailure,
    number
  >;
}

/** As lines to print. */
export function describePresence(verdict: PresenceVerdict): string[] {
  const { failures, tabs, wholes, again, added, removed, returns, slowestMs, details } = verdict;
  const { join, leave, abruptLeave } = slowestMs;
  return [
    `presence       ${tabs} tabs were told ${wholes} lists (${again} anew), ${added} added, ${removed} removed; ` +
      `${returns} returns within the grace`,
    `slowest        join ${join} ms, leave ${leave} ms, leave after a kill ${abruptLeave} ms`,
    ...Object.entries(PRESENCE_FAILURES).map(([name, meaning]) => {
      const count = failures[name as PresenceFailure];
      return `${count === 0 ? "ok  " : "FAIL"} ${name.padEnd(12)} ${count}  ${meaning}`;
    }),
    ...details.map((detail) => `     ${detail}`),
  ];
}
