import type { HistoryPage } from "../core/broker.js";
import type { Target } from "../core/control.js";
import type { HistoryRange, PublishInput, Told } from "../core/operations.js";
import type { PresenceCounts, PresencePage } from "../core/presence.js";
import type { ConnectionRecord, Totals } from "../core/registry.js";
import type { Position } from "../core/publication.js";

export interface ChannelCount {
  readonly channel: string;
  /** Connections over all nodes that answered. */
  readonly subscribers: number;
}

/** What the API does to the nodes. Each may throw StarlingError unavailable or outcome_unknown. */
export interface NodeOperations {
  /**
   * Must queue before its first await: publish-many calls it in order within one
   * turn, and that order is the order in the channel.
   */
  publish(input: PublishInput): Promise<Position | undefined>;
  /** At most `limit` channels with subscribers, by name. `missing`: nodes that did not answer. */
  channels(query: { readonly app: string; readonly prefix: string; readonly limit: number }): Promise<{
    readonly channels: readonly ChannelCount[];
    readonly missing: readonly string[];
  }>;
  channelSubscribers(query: { readonly app: string; readonly channel: string }): Promise<{
    readonly subscribers: number;
    readonly missing: readonly string[];
  }>;
  /** What a channel keeps. This and the next two also throw StarlingError not_enabled. */
  history(app: string, channel: string, range: HistoryRange): Promise<HistoryPage>;
  presence(app: string, channel: string, limit: number): Promise<PresencePage>;
  presenceStats(app: string, channel: string): Promise<PresenceCounts>;
  userConnections(
    app: string,
    user: string,
  ): Promise<{
    readonly connections: readonly (ConnectionRecord & { readonly node: string })[];
    readonly missing: readonly string[];
  }>;
  /** Resolves once the nodes did and recorded it, but for those `missing`. So do the next two. */
  disconnectUser(app: string, user: string, options: { readonly reason?: string | undefined }): Promise<Told>;
  unsubscribe(app: string, target: Target, channel: string): Promise<Told>;
  permit(
    app: string,
    target: Target,
    rights: {
      readonly channels?: readonly string[] | undefined;
      readonly publish?: readonly string[] | undefined;
    },
  ): Promise<Told>;
  totals(): Promise<Totals>;
  ready(): { readonly ready: boolean; readonly reasons: readonly string[] };
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}
