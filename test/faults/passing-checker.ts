/**
 * Judges what clients saw of channels without history: each publication at most once, those of one publisher in their
 * order, and none missed in silence. It imports nothing, as checker.ts.
 *
 * Such a channel delivers at most once. What was acknowledged while a client held its subscription, and did not come, is
 * excused only by a gap that the client was told, or by the end of the subscription.
 *
 * Times are milliseconds since 1970 of one machine's clock.
 */

export interface PassingPublication {
  readonly kind: "passing-publication";
  readonly id: string;
  readonly channel: string;
  readonly publisher: string;
  /** Of the publisher in this channel, rising. */
  readonly sequence: number;
  readonly sentAtMs: number;
  readonly settledAtMs: number;
  readonly outcome: "acked" | "maybe" | "refused";
}

/** What a client saw, in its order. held: its subscription was answered. lost: it left, or its connection ended. */
export type PassingSight = { readonly client: string; readonly channel: string; readonly atMs: number } & (
  | { readonly kind: "passing-held" | "passing-lost" | "passing-gap" }
  | { readonly kind: "passing-message"; readonly id: string }
);

export type PassingEvidence = PassingPublication | PassingSight;

export const PASSING_FAILURES = {
  silentLosses: "publications that a subscriber missed without being told",
  duplicates: "publications that came more than once",
  reorderings: "publications of one publisher out of order",
  foreign: "publications of a channel that the client did not hold",
  untrue: "publications that nobody made, or that were refused and came all the same",
} as const;

export type PassingFailure = keyof typeof PASSING_FAILURES;

export interface PassingVerdict {
  readonly ok: boolean;
  readonly failures: Readonly<Record<PassingFailure, number>>;
  readonly deliveries: number;
  /** Publications that had to reach a client, by client. */
  readonly expected: number;
  /** That clients were told. */
  readonly gaps: number;
  readonly details: readonly string[];
}

export interface PassingOptions {
  /** How long after its acknowledgement a publication may still come, and a gap be told. */
  readonly graceMs: number;
  readonly detailsMax?: number;
}

interface Held {
  readonly fromMs: number;
  toMs: number;
}

export function judgePassing(evidence: Iterable<PassingEvidence>, options: PassingOptions): PassingVerdict {
  const publications = new Map<string, PassingPublication>();
  const sights = new Map<string, PassingSight[]>();
  for (const one of evidence) {
    if (one.kind === "passing-publication") {
      publications.set(one.id, one);
      continue;
    }
    const of = `${one.client} ${one.channel}`;
    const before = sights.get(of);
    if (before === undefined) sights.set(of, [one]);
    else before.push(one);
  }
  const failures = Object.fromEntries(Object.keys(PASSING_FAILURES).map((name) => [name, 0])) as Record<
    PassingFailure,
    number
  >;
  const details: string[] = [];
  const fail = (failure: PassingFailure, detail: string): void => {
    failures[failure]++;
    if (details.length < (options.detailsMax ?? 20)) details.push(`${failure}: ${detail}`);
  };
  let deliveries = 0;
  let expected = 0;
  let toldGaps = 0;

  for (const seen of sights.values()) {
    const { client, channel } = seen[0]!;
    const held: Held[] = [];
    const gaps: number[] = [];
    const had = new Set<string>();
    const last = new Map<string, PassingPublication>();
    for (const sight of seen) {
      const current = held.at(-1);
      const holds = current?.toMs === Infinity;
      if (sight.kind === "passing-held" && !holds) held.push({ fromMs: sight.atMs, toMs: Infinity });
      else if (sight.kind === "passing-lost" && holds) current.toMs = sight.atMs;
      else if (sight.kind === "passing-gap") gaps.push(sight.atMs);
      else if (sight.kind === "passing-message") message(sight, holds);
    }
    toldGaps += gaps.length;
    judgeLosses(held, gaps, had);

    function message({ id }: PassingSight & { kind: "passing-message" }, holds: boolean): void {
      deliveries++;
      const what = `${client} had ${id} in ${channel}`;
      const publication = publications.get(id);
      if (publication === undefined) return fail("untrue", `${what}, which nobody made`);
      if (publication.outcome === "refused") fail("untrue", `${what}, which was refused`);
      if (publication.channel !== channel || !holds) {
        fail(
          "foreign",
          `${what}, ${holds ? `published to ${publication.channel}` : "which it did not hold"}`,
        );
      }
      if (had.has(id)) return fail("duplicates", `${what} again`);
      had.add(id);
      const before = last.get(publication.publisher);
      if (before !== undefined && before.sequence > publication.sequence) {
        return fail("reorderings", `${what} after ${before.id} of the same publisher`);
      }
      last.set(publication.publisher, publication);
    }

    function judgeLosses(spans: readonly Held[], told: readonly number[], came: ReadonlySet<string>): void {
      for (const publication of publications.values()) {
        if (publication.channel !== channel || publication.outcome !== "acked") continue;
        const { id, sentAtMs, settledAtMs } = publication;
        const dueMs = settledAtMs + options.graceMs;
        if (!spans.some(({ fromMs, toMs }) => fromMs <= sentAtMs && dueMs <= toMs)) continue;
        expected++;
        if (came.has(id) || told.some((atMs) => atMs >= sentAtMs)) continue;
        fail("silentLosses", `${client} missed ${id} in ${channel}`);
      }
    }
  }
  // A run in which nothing happened proves nothing.
  if (expected === 0 || deliveries === 0)
    details.unshift("nothing to judge: no publication had to reach a client");
  const ok = expected > 0 && deliveries > 0 && Object.values(failures).every((count) => count === 0);
  return { ok, failures, deliveries, expected, gaps: toldGaps, details };
}

/** As lines to print. */
export function describePassing({ failures, deliveries, expected, gaps, details }: PassingVerdict): string[] {
  return [
    `no history     ${deliveries} deliveries judged, ${expected} were due; ${gaps} gaps told`,
    ...Object.entries(PASSING_FAILURES).map(([name, meaning]) => {
      const count = failures[name as PassingFailure];
      return `${count === 0 ? "ok  " : "FAIL"} ${name.padEnd(12)} ${count}  ${meaning}`;
    }),
    ...details.map((detail) => `     ${detail}`),
  ];
}
