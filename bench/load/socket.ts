/**
 * One WebSocket of the generator on a plain socket. Reads go through one buffer of the process (net's `onread`),
 * so that a received frame costs no allocation: measured, the client then takes less CPU than the server.
 */

import { createHash } from "node:crypto";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Protocol } from "../protocols/protocol.js";
import { findMarker, isMarkerAt, nowUs } from "./marker.js";
import { OPCODE, clientFrame, readFrames } from "./framing.js";

const READ_BUFFER_BYTES = 262_144;
const RESPONSE_BYTES_MAX = 16_384;
const REASON_BYTES_MAX = 300;
const NEWLINE = 0x0a;
const KEY = "c3RhcmxpbmcgYmVuY2ggMQ==";
const ACCEPT = createHash("sha1").update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

export interface SocketEvents {
  /** Upgraded, greeted, authenticated and, where it has a channel, subscribed. */
  onLive(socket: LoadSocket): void;
  onDelivery(socket: LoadSocket, buffer: Buffer, markerAt: number, receivedUs: number): void;
  onReply(socket: LoadSocket): void;
  /** A command of a live connection was refused. */
  onError(socket: LoadSocket, reason: string): void;
  /** Once, whatever the reason: refused, closed by the server, or by `cut`. */
  onClose(socket: LoadSocket, reason: string): void;
}

/** A command, or how it is made of the server's greeting. */
export type Subscription = Buffer | ((greeting: Buffer) => Buffer);

export interface SocketOptions {
  readonly url: URL;
  readonly protocol: Protocol;
  readonly headers: Readonly<Record<string, string>>;
  readonly localAddress?: string;
  readonly token?: string;
  /** Each is answered before the connection is live. */
  readonly subscriptions?: readonly Subscription[];
}

type State = "connecting" | "upgraded" | "saidHello" | "authenticating" | "subscribing" | "live" | "closed";

const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
/** Where the last marker was within its payload: nearly always the same. */
let markerHint = 0;

export class LoadSocket {
  state: State = "connecting";
  wasLive = false;
  /** The subscriber's channel and first slot, and whether it times what it gets; set by its owner. */
  channel = -1;
  slot = -1;
  sampled = false;
  /** Whether its deliveries open the window of its channel's streams. */
  witness = false;

  readonly #net: Socket;
  readonly #options: SocketOptions;
  readonly #events: SocketEvents;
  #rest: Buffer | undefined;
  #receivedUs = 0;
  #closeReason = "";
  /** Of who came without subscriptions, as later ones may depend on it. */
  #greeting: Buffer | undefined;
  /** Subscriptions unanswered. */
  #subscribing = 0;
  #answersPings = true;
  #keepAlive: NodeJS.Timeout | undefined;
  readonly #lines: boolean;

  constructor(options: SocketOptions, events: SocketEvents) {
    this.#options = options;
    this.#events = events;
    this.#lines = options.protocol.lines === true;
    const { url, localAddress } = options;
    const secure = url.protocol === "wss:";
    const target = {
      host: url.hostname,
      port: Number(url.port || (secure ? 443 : 80)),
      ...(localAddress !== undefined && { localAddress }),
      onread: { buffer: readBuffer, callback: (bytes: number) => this.#read(bytes) },
    };
    this.#net = secure ? connectTls({ ...target, servername: url.hostname }) : connectTcp(target);
    this.#net.setNoDelay(true);
    this.#net.once("connect", () => this.#net.write(upgradeRequest(options)));
    this.#net.once("error", (error) => (this.#closeReason ||= error.message));
    this.#net.once("close", () => this.#closed());
  }

  /** @returns false once the kernel takes no more at the moment */
  write(bytes: Buffer): boolean {
    return this.#net.write(bytes);
  }

  /** Of a live connection that came without subscriptions; answered by onReply or onError. */
  subscribe(subscription: Subscription): void {
    this.#send(typeof subscription === "function" ? subscription(this.#greeting!) : subscription, "live");
  }

  get url(): URL {
    return this.#options.url;
  }

  get bufferedBytes(): number {
    return this.#net.writableLength;
  }

  /** Ends the connection as a lost network does: no close frame, a reset. */
  cut(): void {
    this.#closeReason ||= "cut";
    this.#net.resetAndDestroy();
  }

  #read(bytes: number): boolean {
    this.#receivedUs = nowUs();
    let buffer = readBuffer;
    let end = bytes;
    if (this.#rest !== undefined) {
      buffer = Buffer.concat([this.#rest, readBuffer.subarray(0, bytes)]);
      end = buffer.length;
      this.#rest = undefined;
    }
    let at = 0;
    if (this.state === "connecting") {
      at = this.#readUpgrade(buffer, end);
      if (at === -1) return true;
    }
    try {
      at = readFrames(buffer, at, end, this.#onFrame);
    } catch (error) {
      this.#closeReason ||= (error as Error).message;
      this.#net.destroy();
      return false;
    }
    if (at < end) this.#rest = Buffer.from(buffer.subarray(at, end));
    return true;
  }

  /** @returns where the frames begin, or -1 while they do not */
  #readUpgrade(buffer: Buffer, end: number): number {
    const text = buffer.toString("latin1", 0, Math.min(end, RESPONSE_BYTES_MAX));
    const headEnd = text.indexOf("\r\n\r\n");
    if (headEnd === -1) {
      if (end < RESPONSE_BYTES_MAX) this.#rest = Buffer.from(buffer.subarray(0, end));
      else this.#refused("the answer to the upgrade does not end");
      return -1;
    }
    if (!text.startsWith("HTTP/1.1 101") || !text.includes(ACCEPT)) {
      this.#refused(
        `upgrade refused: ${text.slice(0, text.indexOf("\r\n"))} ${text.slice(headEnd + 4, headEnd + 104)}`,
      );
      return -1;
    }
    this.state = "upgraded";
    const { protocol, token } = this.#options;
    if (protocol.open !== undefined) this.#send(protocol.open(token), "saidHello");
    return headEnd + 4;
  }

  #refused(reason: string): void {
    this.#closeReason ||= reason;
    this.#net.destroy();
  }

  readonly #onFrame = (opcode: number, buffer: Buffer, start: number, end: number): void => {
    if (opcode === OPCODE.text || opcode === OPCODE.binary) {
      if (this.#lines) this.#onLines(buffer, start, end);
      else this.#onMessage(buffer, start, end);
    } else if (opcode === OPCODE.ping) {
      this.write(clientFrame(OPCODE.pong, buffer.subarray(start, end)));
    } else if (opcode === OPCODE.close) {
      const code = end - start >= 2 ? buffer.readUInt16BE(start) : 1005;
      this.#closeReason ||= `closed by the server: ${code} ${buffer.toString("utf8", start + 2, end)}`.trim();
      this.#net.destroy();
    }
  };

  #onMessage(buffer: Buffer, start: number, end: number): void {
    let at = start + markerHint;
    if (!isMarkerAt(buffer, at, end)) {
      at = findMarker(buffer, start, end);
      if (at === -1) {
        this.#hear(buffer.subarray(start, end));
        return;
      }
      markerHint = at - start;
    }
    this.#events.onDelivery(this, buffer, at, this.#receivedUs);
  }

  /** The search is native, and ends with the frame: measured, cheaper than by hand from 100 bytes on. */
  #onLines(buffer: Buffer, start: number, end: number): void {
    const frame = buffer.subarray(start, end);
    for (let from = 0; from < frame.length;) {
      const newline = frame.indexOf(NEWLINE, from);
      const to = newline === -1 ? frame.length : newline;
      if (to > from) this.#onMessage(buffer, start + from, start + to);
      from = to + 1;
    }
  }

  #hear(payload: Buffer): void {
    const { protocol } = this.#options;
    switch (protocol.classify(payload)) {
      case "greeting":
        if (protocol.keepAlive !== undefined) this.#startKeepAlive(protocol.keepAlive(payload));
        if (protocol.hello === undefined) this.#ready(payload);
        else if (this.state === "upgraded") this.#send(protocol.hello, "saidHello");
        return;
      case "ready":
        this.#answersPings = protocol.wantsPong?.(payload) ?? true;
        return this.#ready(payload);
      case "reply":
        if (this.state === "live") return this.#events.onReply(this);
        if (this.state === "authenticating") return this.#subscribe(payload);
        if (--this.#subscribing <= 0) this.#live();
        return;
      case "error": {
        const reason = protocol.reasonOf?.(payload) ?? payload.toString("utf8", 0, REASON_BYTES_MAX);
        if (this.state === "live") this.#events.onError(this, reason);
        else this.#refused(reason);
        return;
      }
      case "ping":
        if (protocol.pong !== undefined && this.#answersPings) this.#send(protocol.pong, this.state);
        return;
      case "other":
    }
  }

  #ready(heard: Buffer): void {
    if (this.state !== "upgraded" && this.state !== "saidHello") return;
    const { token, protocol } = this.#options;
    if (token === undefined || protocol.open !== undefined) return this.#subscribe(heard);
    if (protocol.authenticate === undefined) return this.#refused(`${protocol.name} knows no tokens`);
    this.#send(protocol.authenticate(token), "authenticating");
  }

  #subscribe(heard: Buffer): void {
    const { subscriptions = [] } = this.#options;
    if (subscriptions.length === 0) {
      this.#greeting = Buffer.from(heard);
      return this.#live();
    }
    this.#subscribing = subscriptions.length;
    for (const each of subscriptions)
      this.#send(typeof each === "function" ? each(heard) : each, "subscribing");
  }

  #startKeepAlive({ payload, everyMs }: { readonly payload: Buffer; readonly everyMs: number }): void {
    clearInterval(this.#keepAlive);
    this.#keepAlive = setInterval(() => this.#send(payload, this.state), everyMs);
  }

  #live(): void {
    this.state = "live";
    this.wasLive = true;
    this.#events.onLive(this);
  }

  #send(payload: Buffer, state: State): void {
    this.state = state;
    this.write(clientFrame(this.#options.protocol.binary ? OPCODE.binary : OPCODE.text, payload));
  }

  #closed(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    clearInterval(this.#keepAlive);
    this.#events.onClose(this, this.#closeReason || "closed by the server without a word");
  }
}

const requests = new WeakMap<URL, Buffer>();

function upgradeRequest({ url, protocol, headers }: SocketOptions): Buffer {
  let request = requests.get(url);
  if (request === undefined) {
    const lines = [
      `GET ${pathOf(url, protocol)} HTTP/1.1`,
      `Host: ${url.host}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${KEY}`,
      ...(protocol.subprotocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol.subprotocol}`]),
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    request = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
    requests.set(url, request);
  }
  return request;
}

/** What the URL says stands. */
function pathOf({ pathname, search }: URL, { path, query }: Protocol): string {
  if (pathname === "/" && search === "") return path;
  return query !== undefined && search === "" ? `${pathname}?${query}` : pathname + search;
}
