/**
 * The one message model of the native protocol. Codecs turn frames into Command
 * and ServerMessage into frames; PROTOCOL.md documents each for clients.
 */

import type { ErrorCode } from "../../core/errors.js";
import type { DroppedFrames } from "../../core/notices.js";
import type { Position, Publication, Sender, Tags } from "../../core/publication.js";
import type { Payload } from "../../encoding/payload.js";

export const ACTIONS = [
  "connect",
  "subscribe",
  "unsubscribe",
  "send",
  "history",
  "presence",
  "presence_stats",
  "refresh",
  "ping",
] as const;
export type Action = (typeof ACTIONS)[number];

export type CommandId = string | number;
/**
 * What a client asks. Fields that the action does not use are ignored, so that a client may send more than
 * `action`, `channel` and `content`, which are all that a frame needs. `action` is whatever string the frame held:
 * one that does not exist is answered with an error.
 */
export interface Command {
  readonly action: string;
  readonly id: CommandId | undefined;
  readonly channel: string | undefined;
  /** A view into the frame: copy it if it must outlive the call that decoded it. */
  readonly content: Payload | undefined;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  /** false: do not deliver to the sender. */
  readonly echo: boolean | undefined;
  readonly token: string | undefined;
  readonly resume: string | undefined;
  /** Makes a repetition of this send once, where the channel keeps history. */
  readonly messageId: string | undefined;
  readonly since: Position | undefined;
  /** By channel: where a client that resumes stands. */
  readonly positions: ReadonlyMap<string, Position> | undefined;
  readonly limit: number | undefined;
  readonly reverse: boolean | undefined;
}

export interface WelcomeMessage {
  readonly type: "welcome";
  readonly node: string;
  readonly connection: string;
  readonly session: string;
  /** Secret: gives the session's subscriptions back, once, on any node. */
  readonly resume: string;
  /** Server pings come this often; a client that hears nothing for both together is cut off. */
  readonly heartbeat: { readonly intervalMs: number; readonly timeoutMs: number };
  readonly limits: {
    readonly frameBytes: number;
    readonly channels: number;
    readonly messagesPerSecond: number;
    readonly bytesPerSecond: number;
  };
  /** true: nothing but connect with a token is accepted until one succeeded. */
  readonly authenticate: boolean;
}

export interface ConnectReply {
  readonly session: string;
  readonly resume: string;
  readonly resumed: boolean;
  /** Why a resume token restored nothing. */
  readonly reason?: string;
  readonly user?: string;
  /** Unix seconds at which the token runs out. */
  readonly expiresAt?: number;
  /** What is left of it by the node's clock: at least 0. */
  readonly expiresInMs?: number;
  /** What the session is now subscribed to, restored channels included. */
  readonly channels: readonly string[];
  /** Those of `channels` that a `subscribed` push follows for: they recover what was missed. */
  readonly recovering?: readonly string[];
  /** Channels the session had and may not have any more. */
  readonly refused?: readonly string[];
}

export interface ReplyMessage {
  readonly type: "reply";
  readonly id: CommandId;
  readonly [field: string]: unknown;
}

/** What a reply to `history` says, over a WebSocket as over HTTP. */
export interface HistoryAnswer {
  readonly channel: string;
  readonly publications: readonly Publication[];
  /** Of the channel's last publication. */
  readonly top: Position;
  /** What was asked for goes on behind the last publication. */
  readonly more: boolean;
  /** Publications that would make the answer longer than this are left out, but not the first; `more` says so. */
  readonly maxBytes: number;
}

export interface ErrorMessage {
  readonly type: "error";
  readonly id?: CommandId;
  readonly code: ErrorCode;
  readonly message: string;
  readonly temporary: boolean;
  readonly retryAfterMs?: number;
  /** These frames were over the rate limit and not acted upon. */
  readonly dropped?: DroppedFrames;
}

/** The server took a subscription away. */
export interface UnsubscribedMessage {
  readonly type: "unsubscribed";
  readonly channel: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Where a subscriber of a channel with recovery stands once the `missed` messages that follow have come. */
export interface RecoveryFields {
  readonly offset: number;
  readonly epoch: string;
  /** Whether nothing is missing since the position that the client gave; absent where it gave none. */
  readonly recovered?: boolean;
  readonly missed?: number;
}

/** A channel of a resumed session is joined again. */
export interface SubscribedMessage extends RecoveryFields {
  readonly type: "subscribed";
  readonly channel: string;
}

/** Something was not delivered. `recovered`: it follows; else it is lost, and the client stands at the position given. */
export interface GapMessage extends Partial<RecoveryFields> {
  readonly type: "gap";
  readonly channel: string;
  readonly recovered: boolean;
}

/** Who is in a channel. */
export interface Member extends Sender {
  /** Any JSON value but null; absent: it shows nothing of itself. */
  readonly info?: unknown;
}

/** A user came to a channel with a first connection, left it with the last, or shows other info. */
export interface MemberMessage extends Member {
  readonly type: "join" | "leave" | "update";
  readonly channel: string;
}

/** Who is in a channel, after joins and leaves may have been lost. */
export interface PresenceMessage {
  readonly type: "presence";
  readonly channel: string;
  readonly members: readonly Member[];
  readonly connections: number;
  readonly users: number;
}

/** The server is about to close this connection. */
export interface ClosingMessage {
  readonly type: "closing";
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  readonly retryAfterMs?: number;
}

export interface PongMessage {
  readonly type: "pong";
}

/** Everything the server sends but publications, which have a path of their own. */
export type ServerMessage =
  | WelcomeMessage
  | ReplyMessage
  | ErrorMessage
  | UnsubscribedMessage
  | SubscribedMessage
  | GapMessage
  | MemberMessage
  | PresenceMessage
  | ClosingMessage
  | PongMessage;
