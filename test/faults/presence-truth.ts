/** When a user was in a presence channel, by what its tabs wrote down. For presence-checker.ts. */

import type { PresenceHarm, View } from "./presence-view.js";
import { subtract, union, type Span } from "./spans.js";

export interface PresenceTimes {
  /** Who is back within it has not left. */
  readonly graceMs: number;
  readonly joinWithinMs: number;
  /** Of a user that closed its last tab. */
  readonly leaveWithinMs: number;
  /** Of a user whose node was killed. */
  readonly abruptLeaveWithinMs: number;
  /** How long after a harm its tabs may believe what is wrong. */
  readonly aftermathMs: number;
}

/** Clocks are read in milliseconds, by several processes. */
const CLOCK_MS = 20;

interface Leave {
  readonly delayMs: number;
  readonly abrupt: boolean;
  /** Its node stood still. */
  readonly stalled: boolean;
}

/** When one user was in one channel. */
export class Truth {
  readonly sure: readonly Span[];
  /** And when others may believe that it was. */
  readonly possible: readonly Span[];
  readonly returns: number;
  readonly #views: readonly View[];
  readonly #times: PresenceTimes;
  readonly #stalls: readonly Span[];

  constructor(views: readonly View[], times: PresenceTimes, harms: readonly PresenceHarm[]) {
    const { graceMs, leaveWithinMs, abruptLeaveWithinMs, aftermathMs } = times;
    const stalls = harms.filter(({ what }) => what === "stall");
    const spanOf = ({ startMs, endMs }: PresenceHarm): Span => ({
      fromMs: startMs,
      toMs: endMs + aftermathMs,
    });
    this.#views = views;
    this.#times = times;
    this.#stalls = stalls.map(spanOf);
    const uncut = union(views.map(({ heldMs, leftMs }) => ({ fromMs: heldMs, toMs: leftMs })));
    this.sure = union(
      views.flatMap(({ tab, heldMs, leftMs }) =>
        subtract(
          [{ fromMs: heldMs, toMs: leftMs }],
          stalls.filter(({ node }) => node === tab.node).map(spanOf),
        ),
      ),
    );
    this.possible = union(
      views.map(({ askedMs, leftMs, abrupt }) => {
        return { fromMs: askedMs, toMs: leftMs + (abrupt ? abruptLeaveWithinMs : leaveWithinMs) };
      }),
    );
    this.returns = uncut.filter(
      ({ fromMs }, at) => fromMs - (uncut[at - 1]?.toMs ?? -Infinity) < graceMs,
    ).length;
  }

  joinDelayMs(toldMs: number, viewHeldMs: number): number {
    if (this.#isStalledAt(toldMs)) return 0;
    const came = this.#views.filter(({ askedMs, heldMs }) => askedMs <= toldMs && heldMs < Infinity).at(-1);
    return came === undefined ? 0 : Math.max(0, toldMs - Math.max(came.heldMs, viewHeldMs));
  }

  /** undefined: there was none that long ago, or it is not so long that it counts. */
  leaveToldAt(toldMs: number): Leave | undefined {
    const { graceMs, joinWithinMs, abruptLeaveWithinMs } = this.#times;
    for (let at = this.sure.length - 1; at >= 0; at--) {
      const fromMs = this.sure[at]!.toMs;
      const toMs = this.sure[at + 1]?.fromMs ?? Infinity;
      const counts = toMs - fromMs >= graceMs - CLOCK_MS && fromMs + graceMs - CLOCK_MS <= toldMs;
      if (!counts || toldMs > toMs + joinWithinMs) continue;
      const abrupt = this.#views.some(
        (view) => view.abrupt && view.leftMs <= fromMs && fromMs < view.leftMs + abruptLeaveWithinMs,
      );
      return { delayMs: toldMs - fromMs, abrupt, stalled: this.#isStalledAt(toldMs) };
    }
    return undefined;
  }

  #isStalledAt(atMs: number): boolean {
    return this.#stalls.some(({ fromMs, toMs }) => fromMs <= atMs && atMs <= toMs);
  }

  /** Whether it was there all the time, by that node alone. */
  stoodStill({ node }: PresenceHarm, span: Span): boolean {
    const during = this.#views.filter(({ askedMs, leftMs }) => askedMs < span.toMs && leftMs > span.fromMs);
    return (
      during.some(({ heldMs, leftMs }) => heldMs < span.fromMs && leftMs > span.toMs) &&
      during.every(({ tab }) => tab.node === node)
    );
  }
}
