import type { Position, Sender, Tags } from "../protocols/starling/words.js";
import type { Clock } from "./clock.js";
import type { Disposer } from "./disposable.js";
import type { ClientErrorCode, StarlingError } from "./error.js";
import type { ClientCodec } from "./frames.js";
import type { WebSocketConstructor } from "./socket.js";
import type { TokenOption } from "./token.js";

/**
 * Where to connect: ws:// or wss://, in a browser also a path. Of several, the
 * next one is tried whenever a connection failed or ended, the first after the
 * last: a session can be resumed on any node.
 */
export type Urls = string | URL | readonly (string | URL)[];

export interface ConnectOptions {
  /**
   * A JWT, or a function that fetches a fresh one: it is called before each
   * connect and at nine tenths of a token's life. When the server refuses a
   * string, or the function gives null, the client closes for good.
   */
  readonly token?: TokenOption;
  /** Default: JSON. `msgpack` from "starling-client/msgpack" for MessagePack. */
  readonly codec?: ClientCodec;
  /** Default: the global one. Node 20 has none: pass the `ws` package's. */
  readonly WebSocket?: WebSocketConstructor;
  /** Routing key, sent as `?key=`: the balancer sends clients with equal keys to the same node. */
  readonly key?: string;
  /** What becomes of messages that are published while there is no connection. */
  readonly offline?: {
    /** How many wait for the next connection, each until its deadline; 0 refuses all. Default 100. */
    readonly queue?: number;
  };
  /** The longest that a command waits for its answer, and in the queue. Default 10,000. */
  readonly timeoutMs?: number;
  /** The longest that opening a connection, or the token callback, may take. Default 10,000. */
  readonly connectTimeoutMs?: number;
  readonly backoff?: {
    /** Ceiling of the first delay; it doubles with each attempt. Default 1,000. */
    readonly baseMs?: number;
    /** Ceiling of every delay. Default 30,000. */
    readonly capMs?: number;
    /** A connection that lasted this long counts as good: the next delay is a first one. Default 30,000. */
    readonly stableMs?: number;
  };
  /** Tells the console each change of state, and the name of each frame. */
  readonly debug?: boolean;
  /** For tests: from 0 (included) to 1 (excluded). */
  readonly random?: () => number;
  /** For tests. */
  readonly clock?: Clock;
}

export type State = "connecting" | "connected" | "waiting" | "closed";

/** Why there is no connection: a WebSocket close code, or an error's code. */
export interface Reason {
  readonly code: number | ClientErrorCode;
  readonly message: string;
}

export type StateChange =
  | {
      readonly state: "connecting";
      /** From 1; counts from the last good connection. */ readonly attempt: number;
    }
  | ({ readonly state: "connected" } & ConnectionInfo)
  | {
      readonly state: "waiting";
      readonly attempt: number;
      /** A whole number. It may end sooner: by reconnect(), or when the platform says that there is a network. */
      readonly retryInMs: number;
      readonly reason: Reason;
    }
  /** For good: close() was called, or coming back is useless. */
  | { readonly state: "closed"; readonly reason: Reason };

export interface ConnectionInfo {
  readonly node: string;
  readonly connection: string;
  readonly session: string;
  /** Whether the server restored the session of the connection before. */
  readonly resumed: boolean;
  /** null: not identified. */
  readonly user: string | null;
}

export interface Message<Content = unknown, Channel extends string = string> {
  readonly channel: Channel;
  /** Bytes arrive as a Uint8Array, whichever codec the sender used. */
  readonly content: Content;
  /** Absent for what the server itself published. */
  readonly from?: Sender;
  readonly event?: string;
  readonly tags?: Tags;
  /** Where it stands in the channel's history; absent where the channel keeps none. */
  readonly offset?: number;
  readonly epoch?: string;
}

/** May return a promise: its rejection is reported as an "error" event. */
export type Handler<Content = unknown, Channel extends string = string> = (
  message: Message<Content, Channel>,
) => unknown;

/** A subscription that ended though the application did not end it. */
export interface Removal {
  readonly channel: string;
  readonly code: ClientErrorCode;
  readonly message: string;
}

/** The server holds a subscription, for the first time or again. */
export interface Subscribed {
  readonly channel: string;
  /** After an interruption: whether nothing was lost; what was missed follows. Absent where the channel does not recover. */
  readonly recovered?: boolean;
  /** Where what follows goes on from, in channels that recover. */
  readonly offset?: number;
  readonly epoch?: string;
}

/**
 * Messages did not come when they were due. recovered: they follow now. Else what lay before
 * the position is lost, or may be where there is none: load the state anew.
 */
export interface Gap {
  readonly channel: string;
  readonly recovered: boolean;
  readonly offset?: number;
  readonly epoch?: string;
}

/** Who is in a channel. */
export interface Member {
  readonly connection: string;
  /** Absent: anonymous. */
  readonly user?: string;
  /** What it shows of itself, as its token has it: any JSON value; absent: nothing. */
  readonly info?: unknown;
}

/** A user's first connection came to a channel, its last one left, or what is shown of the user is another. */
export interface PresenceChange extends Member {
  readonly channel: string;
}

export interface PresenceStats {
  readonly channel: string;
  readonly connections: number;
  /** An anonymous connection counts as one. */
  readonly users: number;
}

export interface Presence extends PresenceStats {
  /** Up to the server's limit; the counts are of all. */
  readonly members: readonly Member[];
}

export interface SubscribeOptions {
  /** From an earlier life of the application: what came after it is delivered. Only with the channel's first subscription. */
  readonly since?: Position;
  /** Called whenever the server takes the subscription: also after each reconnect. */
  readonly onSubscribed?: (subscribed: Subscribed) => void;
  /** Called when the server refuses the subscription, or takes it away later. */
  readonly onUnsubscribed?: (removal: Removal) => void;
  readonly onGap?: (gap: Gap) => void;
  /** Where the channel's rules tell who comes and goes. */
  readonly onJoin?: (change: PresenceChange) => void;
  /** Without info. */
  readonly onLeave?: (change: PresenceChange) => void;
  /** What the user, or without one the connection, shows from now on: `info`, or nothing. */
  readonly onUpdate?: (change: PresenceChange) => void;
  /** Joins and leaves may have been lost: this is who is there now. */
  readonly onPresence?: (presence: Presence) => void;
}

/** `using subscription = client.subscribe(...)` unsubscribes at the end of its block. */
export interface Subscription extends Disposer {
  readonly channel: string;
  /**
   * Resolves once the server holds the subscription: what is published from then
   * on arrives. Temporary refusals are retried meanwhile.
   * @throws StarlingError the server's permanent refusal, or closed; forbidden, where nothing can ever arrive, as in
   *   another user's `#user:43`
   */
  readonly ready: Promise<void>;
  /** Up to here every message was delivered; undefined where the channel has no positions. */
  readonly position: Position | undefined;
  /** Whether the server holds it now. */
  readonly subscribed: boolean;
  /** The handler is not called any more. The last one of a channel ends it at the server too. */
  unsubscribe(): void;
}

export interface PublishOptions {
  readonly event?: string;
  readonly tags?: Tags;
  /** false: not delivered to this client itself; refused where the channel keeps history. Default true. */
  readonly echo?: boolean;
  /**
   * At most 64 characters; default: a random one. Where the channel keeps history, a publish with an id
   * that the server knows is not made again: give a failed one's `messageId` to repeat it.
   */
  readonly messageId?: string;
  /** Instead of the client's `timeoutMs`. */
  readonly timeoutMs?: number;
}

/** Where the message stands in the channel's history; empty where the channel keeps none. */
export interface Published {
  readonly offset?: number;
  readonly epoch?: string;
}

export interface HistoryOptions {
  /** What follows this position, or in reverse what stands before it. */
  readonly since?: Position;
  /** At most so many, up to the server's own limit. */
  readonly limit?: number;
  /** Newest first. */
  readonly reverse?: boolean;
}

export interface PresenceOptions {
  /** At most so many members, up to the server's own limit. */
  readonly limit?: number;
}

export interface HistoryPage<Content = unknown> {
  readonly publications: readonly Message<Content>[];
  /** Where the channel stands. */
  readonly offset: number;
  readonly epoch: string;
  /** What was asked for goes on: ask again with the position of the last publication as `since`. */
  readonly more: boolean;
}

export interface ClientEvents {
  state: StateChange;
  /**
   * What no promise told: the console gets it where nobody listens. An attempt to connect that failed is told once for
   * each cause, until one succeeds.
   */
  error: StarlingError;
  /** The server refused a subscription, or took it away. */
  unsubscribed: Removal;
  /** Messages did not come when they were due: see Gap. */
  gap: Gap;
  /** Every message, with a handler or without. */
  message: Message;
}

/** One channel of a client, typed by what it carries. */
export interface Channel<Content> {
  readonly name: string;
  subscribe(handler: Handler<Content>, options?: SubscribeOptions): Subscription;
  publish(content: Content, options?: PublishOptions): Promise<Published>;
  history(options?: HistoryOptions): Promise<HistoryPage<Content>>;
  presence(options?: PresenceOptions): Promise<Presence>;
  presenceStats(): Promise<PresenceStats>;
}
