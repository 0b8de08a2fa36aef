/**
 * What nodes exchange in Redis grows by fields that older nodes do not know. Leases name the format that their node
 * reads, and nodes write what the oldest of the fleet reads.
 *
 *     2  what nodes read whose lease names no format
 *     3  text payloads, extras of publications, info of members
 *     4  members whose user's id is a number
 *
 * From 3 on nodes skip fields that they do not know: a new field needs a new number only where skipping it is not enough.
 */
export const FORMAT = 4;
export const FORMAT_BEFORE = 2;
/** The first that has extras of publications, and text payloads. */
export const FORMAT_OF_EXTRAS = 3;
/** The first in which joins tell what members show, and in which updates are told. */
export const FORMAT_OF_INFOS = 3;
/** The first that reads of members that their user's id was given as a number. */
export const FORMAT_OF_NUMBERS = 4;

export interface FleetFormat {
  /** The least that a node of the fleet reads. */
  readonly oldest: number;
  /** Calls `listener` whenever the oldest is another than before. After `settledMs` all nodes have learned it. */
  onChange?(listener: (before: number, settledMs: number) => void): void;
}

/** A node of the list and the value of its lease; null: it has none. */
export type ListedLease = readonly [node: string, lease: string | null];

interface Known {
  readonly format: number;
  /** Of the first look in which it was not on the list; undefined: it was, at the last one. */
  readonly missingMs: number | undefined;
}

/** What a node learns of it from the leases of all nodes. Until then it takes the fleet for older than itself. */
export class LearnedFormat implements FleetFormat {
  oldest = FORMAT_BEFORE;
  /** By node. */
  #known = new Map<string, Known>();
  readonly #listeners: ((before: number, settledMs: number) => void)[] = [];

  onChange(listener: (before: number, settledMs: number) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * @param leases  of all nodes that are on the list now
   * @param keepMs  for how long a node counts that is no longer on it: where Redis lost the list nodes come back one by one
   */
  learn(leases: readonly ListedLease[], nowMs: number, keepMs: number): void {
    const known = new Map<string, Known>();
    for (const [node, lease] of leases) {
      // Who let its lease lapse may live, and reads what it read before. Of one that was never seen with a lease nothing
      // is known: mostly it was killed right before this node took its place.
      const format = lease === null ? this.#known.get(node)?.format : formatOf(lease);
      if (format === undefined) continue;
      known.set(node, { format, missingMs: undefined });
    }
    for (const [node, before] of this.#known) {
      if (known.has(node)) continue;
      // Not since it was last seen: in an outage nothing is.
      const missingMs = before.missingMs ?? nowMs;
      if (nowMs - missingMs <= keepMs) known.set(node, { ...before, missingMs });
    }
    this.#known = known;
    let oldest = FORMAT;
    for (const { format } of known.values()) oldest = Math.min(oldest, format);
    const before = this.oldest;
    this.oldest = oldest;
    if (oldest !== before) for (const listener of this.#listeners) listener(before, keepMs);
  }
}

/** What the node reads that wrote this lease. */
export function formatOf(lease: string): number {
  let fields: unknown;
  try {
    fields = JSON.parse(lease);
  } catch {
    return FORMAT_BEFORE;
  }
  const reads: unknown = (fields as { reads?: unknown } | null)?.reads;
  return Number.isSafeInteger(reads) ? Math.max(reads as number, FORMAT_BEFORE) : FORMAT_BEFORE;
}
