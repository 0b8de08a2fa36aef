/** "Did you mean": for commands, the command line, the configuration and the API. */

import { distance } from "fastest-levenshtein";

/** Longer than any name of ours: a comparison takes time in proportion to both lengths. */
const NAME_CHARACTERS_MAX = 200;

/** The candidate that a peer's name was probably meant to be, if it is near enough to any. */
export function suggest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > NAME_CHARACTERS_MAX) return undefined;
  const all = [...candidates];
  const shared = sharedStart(all);
  const start = name.startsWith(shared) ? shared.length : 0;
  const given = name.slice(start);
  let best: string | undefined;
  let bestCost = Infinity;
  for (const candidate of all) {
    const meant = candidate.slice(start);
    const cost = costOf(given, meant);
    // With as many edits as it has characters nothing of it was written.
    if (cost >= Math.min(bestCost, meant.length)) continue;
    if (cost > Math.max(2, Math.floor(meant.length / 3))) continue;
    best = candidate;
    bestCost = cost;
  }
  return best;
}

/** What all begin with up to a sign, as `STARLING_` or `--`: it says nothing of which is meant. */
function sharedStart([first = "", ...others]: readonly string[]): string {
  let end = others.length === 0 ? 0 : first.length;
  while (!others.every((other) => other.startsWith(first.slice(0, end)))) end--;
  return /^.*[^a-z0-9]/i.exec(first.slice(0, end))?.[0] ?? "";
}

/** How many edits it takes from one name to the other. A name of which only the end is wrong is nearer than any as near. */
function costOf(given: string, meant: string): number {
  const edits = distance(given, meant);
  return hasWrongEnd(given, meant) ? Math.min(edits, 2) - 0.5 : edits;
}

/** Whether it is the other and a word more, as REDIS_URL for REDIS, or a letter more or less, as API_KEY for API_KEYS. */
function hasWrongEnd(given: string, meant: string): boolean {
  const [longer, shorter] = given.length > meant.length ? [given, meant] : [meant, given];
  if (shorter === "" || !longer.startsWith(shorter)) return false;
  if (longer.length - shorter.length === 1) return true;
  return longer === given && /^(?:.[_-]|[a-z0-9][A-Z])/.test(given.slice(meant.length - 1));
}

/** The end of a sentence: `did you mean port?`, or `otherwise` where nothing is near. */
export function didYouMean(name: string, candidates: Iterable<string>, otherwise: string): string {
  const near = suggest(name, candidates);
  return near === undefined ? otherwise : `did you mean ${near}?`;
}
