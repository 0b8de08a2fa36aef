/** What core needs of a socket server, which transport/uws.ts is, and the API of an HTTP server, transport/http.ts. */

import type { AddressKey } from "./client-address.js";

/** sent: handed to the kernel; buffered: waits in this process; dropped: over the hard limit, lost. */
export type SendResult = "sent" | "buffered" | "dropped";

/** By the number that Socket.send and Socket.ping return. */
export const SEND_RESULTS: readonly SendResult[] = ["buffered", "sent", "dropped"];

/**
 * One open WebSocket, in the very form that uWebSockets.js gives it: an object between would be
 * 48 bytes of each of very many connections. Once its close handler was called any call throws.
 */
export interface Socket {
  /** @returns an index of SEND_RESULTS */
  send(frame: Uint8Array, binary: boolean): number;
  /** To all subscribers of the topic but this socket; to nobody if this is not one of them. */
  publish(topic: string, frame: Uint8Array, binary: boolean): unknown;
  subscribe(topic: string): unknown;
  unsubscribe(topic: string): unknown;
  /** @returns an index of SEND_RESULTS */
  ping(): number;
  /** Calls `send`, within which what is sent leaves in as few writes as there can be. Within SocketHandler.message it does anyway. */
  cork(send: () => void): unknown;
  /** Bytes that wait in this process for the client to read. */
  getBufferedAmount(): number;
  /** Sends a close frame. The close handler runs before this returns. @param reason  UTF-8 */
  end(code: number, reason: Uint8Array): void;
}

/** The topics of one listening transport. Their names are ASCII. */
export interface Topics {
  /** To all subscribers of the topic. The frame may be reused once this returns. */
  publish(topic: string, frame: Uint8Array, binary: boolean): void;
}

/** What is known of a client when it asks to upgrade; read during the decision only. */
export interface UpgradeRequest {
  /** As the client wrote it. */
  readonly method: string;
  readonly path: string;
  /** The raw query string, without `?`. */
  readonly query: string;
  readonly origin: string | undefined;
  /** The client's address: the peer's, or what trusted proxies say. Reading it costs a system call. */
  readonly address: AddressKey;
  /** As the client offered them, in order: those of the first header of that name. */
  readonly subprotocols: readonly string[];
  /** Those of all headers of that name, which take a look at every header of the request. */
  readonly allSubprotocols: readonly string[];
  /** Values of the headers that RFC 6455 4.2.1 asks to check; "" where absent. */
  readonly upgrade: string;
  readonly version: string;
  readonly key: string;
}

/** An upgrade that is refused: an HTTP response, as the WebSocket does not exist yet. */
export interface UpgradeRefusal {
  readonly status: number;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Receives the events of one accepted socket, from open to close. */
export interface SocketHandler {
  opened(socket: Socket): void;
  /** The bytes are only valid during the call. */
  message(frame: Uint8Array, binary: boolean): void;
  /** A ping, which the transport answers, or a pong. */
  control(bytes: number): void;
  /** Buffered bytes went down. */
  drained(): void;
  /** Frames for this socket were lost to its hard limit. */
  dropped(): void;
  /** Called once, whoever ended it. */
  closed(code: number): void;
}

export interface UpgradeAcceptance {
  readonly handler: SocketHandler;
  readonly subprotocol: string | undefined;
}

/** Decides on an upgrade in the same turn: nothing is awaited between a request and its socket. */
export type UpgradeDecision = (request: UpgradeRequest) => UpgradeAcceptance | UpgradeRefusal;

/** A plain HTTP request as a transport hands it on: its head is read, its body is not. */
export interface HttpRequest {
  /** As the client wrote it. */
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Without `?`. */
  readonly query: string;
  header(lowerCaseName: string): string | undefined;
  /** Whether a body is announced. */
  readonly hasBody: boolean;
  /**
   * The whole body; empty where there is none. Called at most once, and before the handler awaits anything. Where it is not called the
   * transport throws the body away, or closes the connection behind the answer.
   * @throws StarlingError too_large beyond `maxBytes`, overloaded where too many bodies are being read
   */
  readBody(maxBytes: number): Promise<Uint8Array>;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** For HEAD as for GET: the transport leaves it out. */
  readonly body: string | Uint8Array;
}

export type HttpHandler = (request: HttpRequest) => Promise<HttpResponse>;

/** What a transport finds wrong with a request before any handler sees it. */
export type HttpFault =
  "bad_request" | "headers_too_large" | "request_timeout" | "expectation_failed" | "overloaded";

export interface HttpService {
  /** Never rejects. */
  readonly handle: HttpHandler;
  /** The answer to what is no request. */
  refuse(fault: HttpFault, message: string): HttpResponse;
}
