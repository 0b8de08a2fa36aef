/**
 * Channel patterns, as tokens and the server API name what a user may do: `*`
 * stands for any run of characters, none included, everything else for itself.
 * There is no escape: `a*` also matches the channel named `a*`.
 */

import { setBounded } from "../core/bounded-map.js";
import { isGuardedChannel, isServerChannel } from "../core/channel-name.js";

/** A pattern with `*` elsewhere than only at its end. */
interface Glob {
  readonly prefix: string;
  /** Must follow one another between prefix and suffix. */
  readonly middles: readonly string[];
  readonly suffix: string;
  readonly minLength: number;
}

export interface ChannelList {
  /** Never true for the server's own channels (`#...`). */
  matches(channel: string): boolean;
}

/** What may be used without a right that was given on purpose. */
export const UNGUARDED: ChannelList = Object.freeze({
  matches: (channel: string) => !isServerChannel(channel) && !isGuardedChannel(channel),
});

/** Compiled once per token, asked once per subscribe and send. */
export class PatternList implements ChannelList {
  readonly #exact: ReadonlySet<string> | undefined;
  readonly #prefixes: readonly string[];
  readonly #globs: readonly Glob[];

  constructor(patterns: readonly string[]) {
    const exact = new Set<string>();
    const prefixes = new Set<string>();
    const globs: Glob[] = [];
    for (const pattern of patterns) {
      const pieces = pattern.split("*");
      const prefix = pieces[0]!;
      if (pieces.length === 1) exact.add(pattern);
      else if (pieces.every((piece, index) => index === 0 || piece === "")) prefixes.add(prefix);
      else globs.push(glob(prefix, pieces));
    }
    this.#exact = exact.size === 0 ? undefined : exact;
    this.#prefixes = [...prefixes];
    this.#globs = globs;
  }

  /** Guarded channels too, where a pattern covers them: whoever gave it meant it. */
  matches(channel: string): boolean {
    if (isServerChannel(channel)) return false;
    return (
      this.#exact?.has(channel) === true ||
      this.#prefixes.some((prefix) => channel.startsWith(prefix)) ||
      this.#globs.some((candidate) => globMatches(candidate, channel))
    );
  }
}

/** Lists beyond this many, and long ones, are not worth sharing: each user has one of its own. */
const SHARED_LISTS = 1_000;
const SHARED_LIST_CHARACTERS = 1_000;
const shared = new Map<string, PatternList>();

/** Most tokens carry one of a few lists: connections share those, about 300 bytes each. */
export function sharedPatternList(patterns: readonly string[]): PatternList {
  const key = JSON.stringify(patterns);
  if (key.length > SHARED_LIST_CHARACTERS) return new PatternList(patterns);
  const known = shared.get(key);
  if (known !== undefined) return known;
  // The oldest goes, so that lists of single users do not keep the common ones out for long.
  return setBounded(shared, SHARED_LISTS, key, new PatternList(patterns));
}

function glob(prefix: string, pieces: readonly string[]): Glob {
  const suffix = pieces.at(-1)!;
  const middles = pieces.slice(1, -1).filter((piece) => piece !== "");
  const minLength = middles.reduce((sum, middle) => sum + middle.length, prefix.length + suffix.length);
  return { prefix, middles, suffix, minLength };
}

/** Taking each middle at its first place is enough, so nothing is ever tried twice. */
function globMatches(candidate: Glob, channel: string): boolean {
  if (channel.length < candidate.minLength) return false;
  if (!channel.startsWith(candidate.prefix) || !channel.endsWith(candidate.suffix)) return false;
  const end = channel.length - candidate.suffix.length;
  let at = candidate.prefix.length;
  for (const middle of candidate.middles) {
    const found = channel.indexOf(middle, at);
    if (found === -1 || found + middle.length > end) return false;
    at = found + middle.length;
  }
  return true;
}
