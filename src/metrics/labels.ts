/** What labels may say. Each value is one of a list, so that no one can make series without end. */

import { OTHER_APPS } from "../core/app.js";
import { CLOSE_REASONS } from "../core/closing.js";
import { REJECT_REASONS } from "../core/rejects.js";
import type { DisconnectReason, Stats } from "../core/stats.js";

const DISCONNECT_REASONS = [
  ...Object.keys(CLOSE_REASONS),
  "client",
  "lost",
] as const as readonly DisconnectReason[];

/** Shown from the start, at 0: a rate over a series that appears with 1 misses the 1. */
export function disconnectCounts({ disconnects, framings }: Stats): [[string, string], number][] {
  const protocols = new Set(framings.map(({ protocol }) => protocol));
  return [...protocols].flatMap((protocol) =>
    DISCONNECT_REASONS.map((reason): [[string, string], number] => [
      [protocol, reason],
      disconnects.get(protocol)?.get(reason) ?? 0,
    ]),
  );
}

/** The same for refusals. */
export function rejectCounts({ rejects }: Stats): [[string], number][] {
  return REJECT_REASONS.map((reason) => [[reason], rejects.get(reason) ?? 0]);
}

export interface AppCounts {
  readonly id: string;
  readonly connections: number;
  readonly publications: number;
}

/** Ids come from the configuration, which may have very many. */
const APP_LABELS_MAX = 100;

/** What apps are called in labels: the first hundred by themselves, for as long as the process runs, the others together. */
export class AppLabels {
  readonly #shown = new Set<string>();
  /** Of publications: what an app counted that is gone. A counter never falls. */
  readonly #counted = new Map<string, number>();
  #gone = 0;

  gauges(apps: Iterable<AppCounts>): [[string], number][] {
    return this.#byLabel(apps, ({ connections }) => connections, 0);
  }

  counters(apps: Iterable<AppCounts>): [[string], number][] {
    const all = [...apps];
    const ids = new Set(all.map(({ id }) => id));
    for (const [id, count] of this.#counted) {
      if (ids.has(id)) continue;
      this.#counted.delete(id);
      if (!this.#shown.has(id)) this.#gone += count;
    }
    for (const { id, publications } of all) this.#counted.set(id, publications);
    return this.#byLabel(all, ({ publications }) => publications, this.#gone);
  }

  #byLabel(
    apps: Iterable<AppCounts>,
    read: (app: AppCounts) => number,
    others: number,
  ): [[string], number][] {
    const counts: [[string], number][] = [];
    let rest: number | undefined = others === 0 ? undefined : others;
    for (const app of [...apps].sort((a, b) => (a.id < b.id ? -1 : 1))) {
      if (this.#shown.size < APP_LABELS_MAX) this.#shown.add(app.id);
      if (this.#shown.has(app.id)) counts.push([[app.id], read(app)]);
      else rest = (rest ?? 0) + read(app);
    }
    return rest === undefined ? counts : [...counts, [[OTHER_APPS], rest]];
  }
}
