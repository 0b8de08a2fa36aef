/** What channels do besides delivering: by namespace, which is what stands before the first colon. */

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

export function rulesByNamespace(namespaces: Readonly<Record<string, ChannelRules>>): RulesOf {
  const byName = new Map(Object.entries(namespaces));
  if (byName.size === 0) return () => DEFAULT_RULES;
  // Every publication asks, and a namespace taken out of a name is a new text each time.
  const kept = new Map<string, ChannelRules>();
  const rulesOf = (channel: string, colon: number): ChannelRules =>
    setBounded(kept, CHANNELS_KEPT, channel, byName.get(channel.slice(0, colon)) ?? DEFAULT_RULES);
  return (channel) => {
    const colon = channel.indexOf(":");
    return colon === -1 ? DEFAULT_RULES : (kept.get(channel) ?? rulesOf(channel, colon));
  };
}
