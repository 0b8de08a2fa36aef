/** The highest rate that holds, found in the same way for every peer. */

export interface SearchOptions {
  readonly startRate: number;
  /** From one probe to the next while all hold, or all fail; 2 unless something is known about where the rate is. */
  readonly step: number;
  readonly maxRate: number;
  readonly minRate: number;
  readonly probeSeconds: number;
  readonly confirmSeconds: number;
  /** The bracket is narrowed until its ends differ by less than this factor. */
  readonly precision: number;
}

/** @returns whether the rate held for so long */
export type Probe = (rate: number, seconds: number) => Promise<boolean>;

const CONFIRM_STEP = 0.93;
const CONFIRM_ATTEMPTS_MAX = 8;

/**
 * Rises in steps until a short probe fails, halves the bracket in ratio, then confirms over the full time, from the highest
 * rate that held, in steps of 7 % down.
 * @returns undefined where not even the least rate was confirmed
 */
export async function highestSustained(
  probeOnce: Probe,
  options: SearchOptions,
): Promise<number | undefined> {
  const { startRate, step, maxRate, minRate, probeSeconds, confirmSeconds, precision } = options;
  // A failure counts once it is repeated: a moment in which the machine did something else is no limit of the server.
  const probe: Probe = async (rate, seconds) =>
    (await probeOnce(rate, seconds)) || (await probeOnce(rate, seconds));
  let held: number | undefined;
  let failed: number | undefined;
  let rate = Math.min(Math.max(startRate, minRate), maxRate);
  while (held === undefined || failed === undefined) {
    if (await probe(rate, probeSeconds)) {
      held = rate;
      if (rate >= maxRate) break;
      rate = failed === undefined ? Math.min(Math.round(rate * step), maxRate) : rate;
    } else {
      failed = rate;
      if (rate <= minRate) return undefined;
      rate = held === undefined ? Math.max(Math.round(rate / step), minRate) : rate;
    }
  }
  while (failed !== undefined && failed / held > precision) {
    const middle = Math.round(Math.sqrt(failed * held));
    if (await probe(middle, probeSeconds)) held = middle;
    else failed = middle;
  }
  let candidate = held;
  for (let attempt = 0; attempt < CONFIRM_ATTEMPTS_MAX && candidate >= minRate; attempt++) {
    if (await probe(candidate, confirmSeconds)) return candidate;
    candidate = Math.round(candidate * CONFIRM_STEP);
  }
  return undefined;
}
