/** What core asks of a wire protocol. protocols/ has one folder for each. */

import type { App, Apps } from "./app.js";
import type { Notice } from "./notices.js";
import type { CloseReason } from "./closing.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import type { StarlingError } from "./errors.js";
import type { Position } from "./publication.js";
import type { Framing } from "./framing.js";
import type { RejectReason } from "./rejects.js";
import type { HttpRequest, HttpResponse, UpgradeRefusal, UpgradeRequest } from "./transport.js";

/** What a protocol sees of a connection. */
export interface ProtocolConnection extends Connection {
  readonly edge: EdgeContext;
  /** The protocol's own, of this connection. Few should have any: it is beside the connection's object. */
  protocolState: object | undefined;
  /** What it brought with its upgrade to prove who it is: handed out once. */
  takeProof(): string | undefined;
  /** Holds later frames back until `until`, and all that was given before, settled; it must not reject. */
  wait(until: Promise<void>): void;
  send(frame: Uint8Array): void;
  /** Sends a ping of the transport. @returns whether it left this process at once */
  ping(): boolean;
  /**
   * Tells that a frame failed. What is not a StarlingError is a fault of ours: it ends the session.
   * @param ref  of that frame, as the protocol names it
   */
  fail(error: unknown, ref: unknown): void;
}

/** A client that a protocol takes. */
export interface Offer {
  readonly app: App;
  readonly framing: Framing;
  /** What the upgrade is answered with. */
  readonly subprotocol: string | undefined;
  /** What the client brought with the upgrade to prove who it is; `opened` finds it by `connection.takeProof()`. */
  readonly proof: string | undefined;
}

/** A protocol knows a client as its own and does not take it. */
export interface Refusal extends UpgradeRefusal {
  readonly reason: RejectReason;
}

/** The one frame that a refused client is sent, and the close that follows. */
export interface RefusalOnSocket {
  readonly frame: Uint8Array;
  readonly binary: boolean;
  readonly code: number;
}

/** What a client of a protocol usually does first: a node runs it before it says that it is ready. */
export interface Conversation {
  /** Of the upgrade, with the query. */
  readonly path: string;
  readonly subprotocol?: string;
  readonly binary: boolean;
  /** Sent at once when the socket is open. */
  readonly frames: readonly Uint8Array[];
  /** How many frames the client is sent before it has all that it waits for. */
  readonly answers: number;
}

/** One wire protocol: frames to actions, outcomes and notices to frames. Holds no state of a connection. */
export interface Protocol {
  /** A label of metrics. */
  readonly name: string;
  readonly framings: readonly Framing[];
  /** Whether who sent a frame since the last beat is not asked for a sign of life. false by default: all are. */
  readonly pingsSilentOnly?: boolean;
  /** Whether only the server may name an event so. Not given: any name is anybody's. */
  readonly isReservedEvent?: (event: string) => boolean;
  /** In turn, what is common more than once; none by default. In channels that need no rights, in no namespace. */
  readonly conversations?: readonly Conversation[];
  /** Whether clients that are closed stay away for as long as they are told (`retryAfterMs`); else they are back at once. */
  readonly obeysRetryAfter: boolean;
  /** Whether a connection leaves a session that another can resume. */
  readonly keepsSessions: boolean;
  /** undefined: the request is not this protocol's. */
  admit(request: UpgradeRequest, apps: Apps): Offer | Refusal | undefined;
  /**
   * How a client is told on a socket that it is not taken, in place of an HTTP answer, whether `admit` or core refuses it.
   * Not given: by HTTP.
   */
  readonly refusal?: (refused: Refusal) => RefusalOnSocket;
  /**
   * A plain HTTP request on the clients' port, where the protocol has such a side. undefined: it is not this
   * protocol's, as `admit`. A rejection is answered 500.
   */
  readonly http?: (request: HttpRequest, edge: EdgeContext) => Promise<HttpResponse> | undefined;
  /** The connection's socket is open: nothing was sent to it yet. */
  opened(connection: ProtocolConnection): void;
  /**
   * A frame, within the limits. Once the connection is closed it is one that came before: what it publishes is
   * published, and nothing else.
   * @returns undefined: done; else later frames wait until this settles
   * @throws whatever happened: a StarlingError is told by a notice, anything else ends the connection
   */
  frame(connection: ProtocolConnection, bytes: Uint8Array, binary: boolean): Promise<void> | undefined;
  /**
   * Answers a frame that only asks for a sign of life, out of order. Asked of short frames that come while earlier ones
   * wait, in which the client should not take the node for dead. Not given: they wait like all others.
   * @returns false: it is another frame, and nothing was done
   */
  readonly answerPing?: (connection: ProtocolConnection, bytes: Uint8Array, binary: boolean) => boolean;
  /** The ref of a frame that is not acted upon, for the notice that says so. */
  refOf(connection: ProtocolConnection, bytes: Uint8Array, binary: boolean): unknown;
  /** A publication of a client is done with. @param ref  as it was published with */
  published(
    connection: ProtocolConnection,
    ref: unknown,
    failure: StarlingError | undefined,
    position: Position | undefined,
  ): void;
  notify(connection: ProtocolConnection, notice: Notice): void;
  closeCode(reason: CloseReason): number;
  /** What it means that the client's side closed with this code. goodbye: it will not resume; lost: there was no close frame. */
  peerClosed(code: number): "goodbye" | "away" | "lost";
  /** Asks for a sign of life, mostly by `connection.ping()`. @returns whether it left this process at once */
  beat(connection: ProtocolConnection): boolean;
}
