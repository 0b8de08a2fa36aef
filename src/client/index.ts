/** The client SDK: browsers, and Node from 20 on. */

export { connect, Client } from "./client.js";
export { watchPresence, type Roster } from "./roster.js";
export { StarlingError } from "./error.js";
export { json } from "./codec-json.js";
export type { ClientErrorCode } from "./error.js";
export type { ClientCodec, Frame, OutgoingCommand } from "./frames.js";
export type { Clock, Timer } from "./clock.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export type { TokenOption } from "./token.js";
export type {
  Channel,
  ClientEvents,
  ConnectionInfo,
  ConnectOptions,
  Gap,
  Handler,
  HistoryOptions,
  HistoryPage,
  Member,
  Message,
  Presence,
  PresenceChange,
  PresenceOptions,
  PresenceStats,
  Published,
  PublishOptions,
  Reason,
  Removal,
  State,
  StateChange,
  Subscribed,
  SubscribeOptions,
  Subscription,
  Urls,
} from "./types.js";
export type { Position, Sender } from "../protocols/starling/words.js";
