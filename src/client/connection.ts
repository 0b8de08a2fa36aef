import type { Bytes } from "./bytes.js";
import type { Clock, Timer } from "./clock.js";
import { StarlingError, messageOf } from "./error.js";
import {
  asFrame,
  stringOf,
  welcomeOf,
  type ClientCodec,
  type Debug,
  type Frame,
  type Welcome,
} from "./frames.js";
import { hintOf } from "./backoff.js";
import type { Outlet } from "./pending-commands.js";
import type { WebSocketConstructor, WebSocketLike } from "./socket.js";
import { SilenceWatch } from "./silence-watch.js";
import { mayReconnect } from "../protocols/starling/close-codes.js";

export interface ConnectionOptions {
  readonly url: string;
  readonly WebSocket: WebSocketConstructor;
  readonly codec: ClientCodec;
  readonly clock: Clock;
  /** From the first packet to the welcome. */
  readonly connectTimeoutMs: number;
  readonly debug: Debug | undefined;
}

/** How a connection ended. */
export interface ConnectionEnd {
  /** The close code; 1006 where the network or this client ended it. */
  readonly code: number;
  readonly reason: string;
  /** false: coming back is useless. */
  readonly reconnect: boolean;
  /** The least delay that the server asked for. */
  readonly retryAfterMs: number | undefined;
  /** The server was not reached: it neither sent a frame nor closed with a code. */
  readonly unreached: boolean;
  /** What the WebSocket's error event said of it. */
  readonly fault: object | undefined;
}

export interface ConnectionHandlers {
  welcome(welcome: Welcome): void;
  /** Any frame after the welcome. */
  frame(frame: Frame): void;
  /** Nothing was heard for long: any command that the server answers will do. */
  probe(): void;
  unreadable(error: StarlingError): void;
  /** Once, and nothing is called after it. */
  ended(end: ConnectionEnd): void;
}

/** Codes 3000 to 3999 are free for clients; any but 1000 lets the session be resumed. */
const ABANDONED = 3000;
const NORMAL = 1000;
/** There was no close frame. */
const LOST = 1006;

/** One WebSocket from its opening to its end. */
export class Connection implements Outlet {
  /** The largest frame that the node takes; known from the welcome. */
  frameBytes = Infinity;
  readonly #options: ConnectionOptions;
  readonly #handlers: ConnectionHandlers;
  readonly #socket: WebSocketLike;
  readonly #connectTimer: Timer;
  #watch: SilenceWatch | undefined;
  #closing: Frame | undefined;
  #hintMs: number | undefined;
  #settled = false;
  #framesSent = 0;
  #ended = false;
  #fault: object | undefined;
  #faultTimer: Timer;

  /** @throws what the WebSocket's constructor throws, as for ws:// on an https page */
  constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
    const { url, WebSocket, codec, clock, connectTimeoutMs } = options;
    this.#options = options;
    this.#handlers = handlers;
    const socket = new WebSocket(url, [codec.subprotocol]);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", (event) => this.#received(event.data));
    socket.addEventListener("close", (event) => this.#closed(event.code, event.reason));
    socket.addEventListener("error", (event) => this.#failed(event));
    this.#connectTimer = clock.setTimeout(
      () => this.#dead(`no welcome within ${connectTimeoutMs} ms`),
      connectTimeoutMs,
      true,
    );
  }

  send(frame: string | Bytes): number {
    // A socket that is closing drops what it is given: its end then settles the command.
    if (this.#socket.readyState === 1) this.#socket.send(frame);
    return ++this.#framesSent;
  }

  /** Ends the session too: the server forgets its subscriptions. No handler is called any more. */
  close(reason: string): void {
    this.#stop();
    this.#socket.close(NORMAL, reason);
  }

  /** Ends the connection, not the session. */
  abandon(reason: string, retryAfterMs?: number, unreached = false): void {
    if (this.#ended) return;
    this.#stop();
    this.#socket.close(ABANDONED);
    this.#handlers.ended({
      ...{ code: LOST, reason, reconnect: true, retryAfterMs: retryAfterMs ?? this.#hintMs },
      ...{ unreached, fault: undefined },
    });
  }

  /** The network may be another: the connection is left unless a frame comes in time. */
  askNow(withinMs: number): void {
    this.#watch?.askNow(withinMs);
  }

  /** Nobody is there to close it with: ws would wait 30 s for the other side's close. */
  #dead(reason: string): void {
    this.abandon(reason, undefined, this.#watch === undefined);
    this.#socket.terminate?.();
  }

  #stop(): void {
    this.#ended = true;
    this.#options.clock.clearTimeout(this.#connectTimer);
    this.#options.clock.clearTimeout(this.#faultTimer);
    this.#watch?.stop();
  }

  /** The close event comes behind it, but Node 22's own WebSocket has none where it could not connect. */
  #failed(event: object): void {
    if (this.#ended) return;
    this.#fault = event;
    if (this.#watch === undefined) {
      this.#faultTimer = this.#options.clock.setTimeout(() => this.#closed(LOST, ""), 0, true);
    }
  }

  #received(data: unknown): void {
    if (this.#ended) return;
    this.#watch?.heard();
    let frame: Frame;
    try {
      frame = asFrame(this.#options.codec.decode(bytesOf(data)));
    } catch (cause) {
      const message = `a frame from the server could not be read: ${messageOf(cause)}`;
      return this.#handlers.unreadable(new StarlingError("bad_frame", message, { cause }));
    }
    this.#options.debug?.("<-", frame.type, frame["channel"] ?? frame["id"] ?? "", frame["code"] ?? "");
    if (frame.type === "closing") this.#closing = frame;
    else if (frame.type === "error" && !this.#settled) {
      this.#hintMs = hintOf(frame["retryAfterMs"]) ?? this.#hintMs;
    }
    if (this.#watch !== undefined) return this.#handlers.frame(frame);
    if (frame.type === "welcome") this.#welcomed(welcomeOf(frame));
    else if (frame.type === "error") this.#handlers.frame(frame);
  }

  #welcomed(welcome: Welcome): void {
    const { clock } = this.#options;
    clock.clearTimeout(this.#connectTimer);
    this.frameBytes = welcome.frameBytes;
    const { intervalMs, timeoutMs } = welcome.heartbeat;
    this.#watch = new SilenceWatch({
      clock,
      intervalMs,
      timeoutMs,
      probe: () => this.#handlers.probe(),
      dead: (silentMs) => this.#dead(`no data was received for ${silentMs} ms`),
    });
    this.#handlers.welcome(welcome);
  }

  /** The client is connected: hints that come with errors are no longer about connecting. */
  settled(): void {
    this.#settled = true;
    this.#hintMs = undefined;
  }

  #closed(code: number, reason: string): void {
    if (this.#ended) return;
    this.#stop();
    const closing = this.#closing;
    // The frame before the close says the code too, and arrives where the close itself is lost.
    const announced = closing?.["code"];
    // Deno gives 0 where there was no close frame.
    if (code === LOST || !code) code = typeof announced === "number" ? announced : LOST;
    this.#handlers.ended({
      code,
      reason: reason || stringOf(closing?.["reason"]) || "the connection was lost",
      reconnect: mayReconnect(code) && closing?.["reconnect"] !== false,
      retryAfterMs: hintOf(closing?.["retryAfterMs"]) ?? this.#hintMs,
      unreached: this.#watch === undefined && (code === LOST || this.#fault !== undefined),
      fault: this.#fault,
    });
  }
}

/** @throws TypeError for what is neither text nor bytes */
function bytesOf(data: unknown): string | Uint8Array {
  if (typeof data === "string") return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError("neither text nor bytes");
}
