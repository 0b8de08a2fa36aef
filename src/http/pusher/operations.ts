import type { App, Apps } from "../../core/app.js";
import type { PusherSettings } from "../../protocols/pusher/settings.js";
import type { NodeOperations } from "../operations.js";
import type { Query } from "./query.js";

/** What Pusher's API does to the nodes. */
export interface PusherOperations extends Pick<
  NodeOperations,
  "publish" | "channels" | "history" | "presence" | "presenceStats" | "disconnectUser"
> {
  /** Of each channel, in their order, on the nodes that answered. @throws StarlingError unavailable, outcome_unknown */
  subscriberCounts(
    app: string,
    channels: readonly string[],
  ): Promise<{ readonly counts: readonly number[]; readonly missing: readonly string[] }>;
}

export type PusherApps = Pick<Apps, "get" | "ofKey">;

/** A request that its signature has let in. */
export interface PusherCall {
  readonly operations: PusherOperations;
  readonly app: App;
  readonly settings: PusherSettings;
  readonly query: Query;
  readonly body: Uint8Array;
  /** What the path names: a channel or a user. */
  readonly name: string;
}
