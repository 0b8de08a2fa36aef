/** What channels do by the kinds that their names say. */

import { setBounded } from "../../core/bounded-map.js";
import type { HistoryRule } from "../../core/broker.js";
import type { ChannelRules, RulesOf } from "../../core/channel-rules.js";
import { isCache, isPresence, mayHaveKind } from "./channels.js";
import type { PusherSettings } from "./settings.js";

/** How long a cache channel keeps its last event. */
const CACHE_TTL_MS = 30 * 60_000;
const CACHE_HISTORY: HistoryRule = Object.freeze({ size: 1, ttlMs: CACHE_TTL_MS });
const NAMES_KEPT = 4_096;

/**
 * The rules of an app that serves Pusher: what its namespaces say, and what its settings and its channels' kinds ask for
 * beyond.
 */
export function rulesByKind(
  rulesOf: RulesOf,
  { subscriptionCount }: Pick<PusherSettings, "subscriptionCount">,
): RulesOf {
  const kept = new Map<string, { readonly base: ChannelRules; readonly rules: ChannelRules }>();
  return (name) => {
    const base = rulesOf(name);
    // Of each publication.
    if (!subscriptionCount && !mayHaveKind(name)) return base;
    const presence = isPresence(name);
    const cache = isCache(name);
    const counted = subscriptionCount && !presence;
    if (!presence && !cache && !counted) return base;
    const known = kept.get(name);
    if (known?.base === base) return known.rules;
    const rules = {
      ...base,
      ...(presence ? { presence: true, joinLeave: true } : undefined),
      ...(cache ? { replayLast: true } : undefined),
      ...(counted ? { tellsSubscriberCount: true } : undefined),
      ...(cache && base.history === undefined ? { history: CACHE_HISTORY } : undefined),
    };
    return setBounded(kept, NAMES_KEPT, name, { base, rules }).rules;
  };
}
