/** How the generator speaks to a kind of server. Deliveries are found by their marker (load/marker.ts), never parsed. */

import type { ProtocolName } from "../types.js";

/** What a frame without a marker is. */
export type Heard =
  /** The server greets. Answered by `hello` where the protocol has one, else the connection may subscribe. */
  | "greeting"
  /** The answer to `hello`: the connection may subscribe. */
  | "ready"
  /** A command was taken. */
  | "reply"
  /** A command, or the connection, was refused. */
  | "error"
  /** Answered by `pong`. */
  | "ping"
  | "other";

/** What a protocol may need to be let in, beside the token that each connection presents. */
export interface Credentials {
  /** Signs subscriptions. */
  readonly secret?: string;
}

export interface Protocol {
  readonly name: ProtocolName;
  /** Path and query of the upgrade request, where the URL has none. */
  readonly path: string;
  /** Of the upgrade request, where the URL has a path but no query. */
  readonly query?: string;
  readonly subprotocol?: string;
  /** Whether the client's frames are binary. */
  readonly binary: boolean;
  /** Whether a frame of the server may hold several messages, a line each. Absent: it holds one. */
  readonly lines?: true;
  /** Where the client speaks first, what it says, with its token if it has one. Answered by "ready". */
  open?(token: string | undefined): Buffer;
  readonly hello?: Buffer;
  readonly pong?: Buffer;
  /** Whether the server wants its pings answered, as its "ready" says. Absent: it does. */
  wantsPong?(ready: Buffer): boolean;
  /** What an idle client has to say, and how often, as the greeting asks. Absent: nothing. */
  keepAlive?(greeting: Buffer): { readonly payload: Buffer; readonly everyMs: number };
  subscribe(channel: string): Buffer;
  /** Instead of `subscribe`, where the command depends on the connection: on its URL and the server's greeting. */
  subscribeGreeted?(channel: string, greeting: Buffer, url: URL): Buffer;
  /** Only who is subscribed to a channel may publish in it; what it publishes does not come back to it. */
  readonly publishersSubscribe?: true;
  /** @param acknowledged asks for a reply */
  publish(channel: string, content: string, acknowledged: boolean): Buffer;
  /** Proves who the client is; absent: the protocol knows no tokens. */
  authenticate?(token: string): Buffer;
  /** Asks who is in the channel. */
  presence?(channel: string): Buffer;
  classify(payload: Buffer): Heard;
  /** What an "error" says, for people. Absent: the frame is shown as it is. */
  reasonOf?(payload: Buffer): string;
}
