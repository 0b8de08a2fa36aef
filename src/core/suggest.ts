/** "Did you mean": for commands, the command line, the configuration and the API. */

import { distance } from "fastest-levenshtein";

/** Longer than any name of ours: a comparison takes time in proportion to both lengths. */
const NAME_CHARACTERS_MAX = 200;

/** The candidate that a peer's name was probably meant to be, if it is near enough to any. */
export function suggest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > NAME_CHARACTERS_MAX) return undefined;
  let best: string | undefined;
  let bestEdits = Infinity;
  for (const candidate of candidates) {
    const edits = distance(name, candidate);
    // With as many edits as it has characters nothing of it was written.
    if (edits >= Math.min(bestEdits, candidate.length)) continue;
    if (edits > Math.max(2, Math.floor(candidate.length / 3))) continue;
    best = candidate;
    bestEdits = edits;
  }
  return best;
}

/** The end of a sentence: `did you mean port?`, or `otherwise` where nothing is near. */
export function didYouMean(name: string, candidates: Iterable<string>, otherwise: string): string {
  const near = suggest(name, candidates);
  return near === undefined ? otherwise : `did you mean ${near}?`;
}
