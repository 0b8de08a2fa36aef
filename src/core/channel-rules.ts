/** What channels do besides delivering: by namespace, which is what stands before the first colon, or by a prefix of their names. */

import { setBounded } from "./bounded-map.js";
import type { HistoryRule } from "./broker.js";

/** Who may send to a channel, besides what the token's claims say. */
export type PublishRule = "anyone" | "subscribers" | "server";

/**
 * What happens to a subscriber who reads too slowly. disconnect: closed as slow_reader. repair: skipped,
 * and once drained served from history. latest: skipped, and once drained given the newest only.
 */
export type SlowReaderRule = "disconnect" | "repair" | "latest";

export interface ChannelRules {
  /** undefined: publications are delivered and forgotten. */
  readonly history: HistoryRule | undefined;
  /** Subscribers who give a position get what they missed. Needs history. */
  readonly recovery: boolean;
  readonly presence: boolean;
  /** Tells subscribers who comes and goes. Needs presence. */
  readonly joinLeave: boolean;
  readonly publish: PublishRule;
  /** A new subscriber gets the last publication at once. Needs history. */
  readonly replayLast: boolean;
  readonly slowReader: SlowReaderRule;
  /** Tells subscribers how many they are, over all nodes. false where not given. */
  readonly tellsSubscriberCount?: boolean | undefined;
}

/** Of channels in no namespace, and what a namespace leaves out. */
export const DEFAULT_RULES: ChannelRules = {
  history: undefined,
  recovery: false,
  presence: false,
  joinLeave: false,
  publish: "anyone",
  replayLast: false,
  slowReader: "disconnect",
};

const CHANNELS_KEPT = 4_096;

/** @returns the rules of a channel by its name */
export type RulesOf = (channel: string) => ChannelRules;

/**
 * @param namespaces  rules by namespace; a name that ends with `*` is a prefix of whole channel names instead: the longest
 * that fits has precedence, over a namespace too
 */
export function rulesByNamespace(namespaces: Readonly<Record<string, ChannelRules>>): RulesOf {
  const entries = Object.entries(namespaces);
  const byName = new Map(entries.filter(([name]) => !name.endsWith("*")));
  const prefixes = entries
    .filter(([name]) => name.endsWith("*"))
    .map(([name, rules]) => ({ prefix: name.slice(0, -1), rules }))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  if (entries.length === 0) return () => DEFAULT_RULES;
  // Every publication asks, and a namespace taken out of a name is a new text each time.
  const kept = new Map<string, ChannelRules>();
  const find = (channel: string): ChannelRules => {
    const namespace = channel.slice(0, Math.max(0, channel.indexOf(":")));
    const rules =
      prefixes.find(({ prefix }) => channel.startsWith(prefix))?.rules ??
      byName.get(namespace) ??
      DEFAULT_RULES;
    return setBounded(kept, CHANNELS_KEPT, channel, rules);
  };
  const byNameAlone = prefixes.length === 0;
  return (channel) =>
    byNameAlone && !channel.includes(":") ? DEFAULT_RULES : (kept.get(channel) ?? find(channel));
}
