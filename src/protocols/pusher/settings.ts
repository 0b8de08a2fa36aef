/** What an app sets for its Pusher clients and back ends. */

import type { App } from "../../core/app.js";
import { MEMBER_INFO_BYTES_MAX, READ_LIMIT_MAX } from "../../core/limits.js";

/** Sizes are bytes of UTF-8. */
export interface PusherSettings {
  /** Whether clients may send events (`client-...`) to private and presence channels. */
  readonly clientEvents: boolean;
  /** Client events that one connection may send in a second. */
  readonly clientEventsPerSecond: number;
  /** Whether subscribers are told how many there are, where the channel is no presence channel. */
  readonly subscriptionCount: boolean;
  /**
   * Time in which a client has to sign in, or to subscribe to a channel by a signature, before it is closed; 0: it need not.
   */
  readonly authorizeWithinMs: number;
  readonly maxChannelNameBytes: number;
  readonly maxEventNameBytes: number;
  /** Of an event's data, from a client or from the API. */
  readonly maxDataBytes: number;
  /** Channels that one event of the API may go to. */
  readonly maxEventChannels: number;
  /** Events in one batch of the API. */
  readonly maxBatchEvents: number;
  /** Users in a presence channel. */
  readonly maxPresenceMembers: number;
  /** Of what a member is and shows: user_id and user_info as JSON. */
  readonly maxPresenceMemberBytes: number;
}

/** Pusher's own limits, where it has one. */
export const PUSHER_DEFAULTS: PusherSettings = {
  clientEvents: false,
  clientEventsPerSecond: 10,
  subscriptionCount: false,
  authorizeWithinMs: 0,
  maxChannelNameBytes: 200,
  maxEventNameBytes: 200,
  maxDataBytes: 10 * 1024,
  maxEventChannels: 100,
  maxBatchEvents: 10,
  maxPresenceMembers: 100,
  maxPresenceMemberBytes: MEMBER_INFO_BYTES_MAX,
};

/** No page of members holds more. */
export const PRESENCE_MEMBERS_MOST = READ_LIMIT_MAX;

/** By which an app's settings are found in its `protocolSettings`. */
export const PUSHER = "pusher";

export function pusherSettings(app: App): PusherSettings {
  return (app.protocolSettings[PUSHER] as PusherSettings | undefined) ?? PUSHER_DEFAULTS;
}
