/** Times during which something was so: lists in order, without overlap, of milliseconds since 1970. */

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Of spans in any order; what touches becomes one, and what is empty none. */
export function union(spans: readonly Span[]): Span[] {
  const sorted = spans.filter(({ fromMs, toMs }) => fromMs < toMs).sort((a, b) => a.fromMs - b.fromMs);
  const joined: Span[] = [];
  for (const span of sorted) {
    const last = joined.at(-1);
    if (last === undefined || last.toMs < span.fromMs) joined.push(span);
    else if (span.toMs > last.toMs) joined[joined.length - 1] = { fromMs: last.fromMs, toMs: span.toMs };
  }
  return joined;
}

export function subtract(spans: readonly Span[], cuts: readonly Span[]): Span[] {
  let left = spans;
  for (const cut of cuts) {
    left = left.flatMap((span) => {
      if (cut.toMs <= span.fromMs || span.toMs <= cut.fromMs) return [span];
      const parts = [
        { fromMs: span.fromMs, toMs: cut.fromMs },
        { fromMs: cut.toMs, toMs: span.toMs },
      ];
      return parts.filter(({ fromMs, toMs }) => fromMs < toMs);
    });
  }
  return [...left];
}

export function intersect(some: readonly Span[], others: readonly Span[]): Span[] {
  const both: Span[] = [];
  for (const one of some) {
    for (const other of others) {
      const [fromMs, toMs] = [Math.max(one.fromMs, other.fromMs), Math.min(one.toMs, other.toMs)];
      if (fromMs < toMs) both.push({ fromMs, toMs });
    }
  }
  return both;
}

/** Whether one of them covers all of it. */
export function covers(spans: readonly Span[], { fromMs, toMs }: Span): boolean {
  return spans.some((span) => span.fromMs <= fromMs && toMs <= span.toMs);
}
