/** What the checkers say of what a run left in files. */

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Checker, type Evidence, type Verdict } from "./checker.js";
import { judgePassing, type PassingEvidence, type PassingVerdict } from "./passing-checker.js";
import { RegistryChecker, type RegistryRecord, type RegistryVerdict } from "./registry-checker.js";

/** What a line of a file is. */
export type AnyEvidence = Evidence | RegistryRecord | PassingEvidence;

export interface Verdicts {
  readonly verdict: Verdict;
  readonly registry: RegistryVerdict;
  /** undefined: no channel without history was published to. */
  readonly passing: PassingVerdict | undefined;
}

/** Clients of a busy machine see late that they were cut off. */
const PASSING_GRACE_MS = 5_000;

/** Files of evidence, a line each; of one client all in one file. */
export async function judgeFiles(
  files: readonly string[],
  options: { historySize: number; historyTtlMs: number },
): Promise<Verdicts> {
  const checker = new Checker(options);
  const registry = new RegistryChecker();
  const passing: PassingEvidence[] = [];
  for (const file of files) {
    for await (const line of createInterface({ input: createReadStream(file) })) {
      const evidence = JSON.parse(line) as AnyEvidence;
      switch (evidence.kind) {
        case "claim":
        case "hash":
        case "living":
          registry.add(evidence);
          break;
        case "passing-publication":
        case "passing-held":
        case "passing-lost":
        case "passing-gap":
        case "passing-message":
          passing.push(evidence);
          break;
        default:
          checker.add(evidence);
          if (evidence.kind === "end" || evidence.kind === "fault") registry.add(evidence);
      }
    }
  }
  return {
    verdict: checker.verdict(),
    registry: registry.verdict(),
    passing: passing.some(({ kind }) => kind === "passing-publication")
      ? judgePassing(passing, { graceMs: PASSING_GRACE_MS })
      : undefined,
  };
}
