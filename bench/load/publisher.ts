/** Sends the streams of one load process: when they are due, as fast as delivered, or as fast as acknowledged. */

import { clientFrame, OPCODE } from "./framing.js";
import type { Traffic } from "./messages.js";
import { createPayload, findMarker, nowUs, writeMarker } from "./marker.js";
import type { Protocol } from "../protocols/protocol.js";
import type { LoadSocket } from "./socket.js";

const TICK_MS = 1;
/** Later than this a tick was late: what it sends is stamped with when it was due, or a stall would hide itself. */
const LATE_US = 2000;
/** What one publisher may have in this process's memory before it counts as behind. */
const BUFFERED_BYTES_MAX = 4_194_304;
/** At most so much of what is due is caught up in one tick, so that the process still reads in between. */
const CATCH_UP_MESSAGES_MAX = 20_000;

export interface Stream {
  readonly id: number;
  readonly publisher: number;
  readonly frame: Buffer;
  readonly markerAt: number;
  sent: number;
  /** By the witness. */
  delivered: number;
  /** How many to send in the next flush, and when they were due. */
  due: number;
}

export class Publisher {
  sent = 0;
  behind = 0;
  readonly #sockets: readonly LoadSocket[];
  readonly #streams: readonly Stream[];
  readonly #byPublisher: readonly (readonly Stream[])[];
  readonly #onRoundTrip: (us: number) => void;
  #traffic: Traffic | undefined;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #cursor = 0;
  #owed = 0;
  #scheduledUs = 0;
  /** By publisher: commands unanswered, and when they were sent. */
  #unanswered: number[] = [];
  #askedUs: number[][] = [];
  #request: readonly Buffer[] = [];

  constructor(sockets: readonly LoadSocket[], streams: readonly Stream[], onRoundTrip: (us: number) => void) {
    this.#sockets = sockets;
    this.#streams = streams;
    this.#byPublisher = sockets.map((_, index) => streams.filter(({ publisher }) => publisher === index));
    this.#onRoundTrip = onRoundTrip;
  }

  /** @param requests by publisher, what "acknowledged" presence asks */
  start(traffic: Traffic, shareOfRate: number, requests: readonly Buffer[]): void {
    this.stop();
    this.#traffic = traffic;
    this.#request = requests;
    if (this.#streams.length === 0) return;
    if (traffic.kind === "rate") {
      this.#scheduledUs = nowUs();
      this.#tick(traffic.messagesPerSecond * shareOfRate);
    } else if (traffic.kind === "window") {
      this.#pumpWindow();
    } else {
      this.#unanswered = this.#sockets.map(() => 0);
      this.#askedUs = this.#sockets.map(() => []);
      this.#sockets.forEach((_, index) => this.#ask(index));
    }
  }

  stop(): void {
    this.#traffic = undefined;
    clearTimeout(this.#timer);
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#immediate = undefined;
    this.#owed = 0;
  }

  delivered(stream: Stream, sequence: number): void {
    stream.delivered = sequence + 1;
    if (this.#traffic?.kind === "window") this.#immediate ??= setImmediate(this.#pumpWindow);
  }

  replied(publisher: number, receivedUs: number): void {
    if (this.#traffic?.kind !== "acknowledged") return;
    this.#unanswered[publisher]!--;
    const asked = this.#askedUs[publisher]!.shift();
    if (asked !== undefined) this.#onRoundTrip(receivedUs - asked);
    this.#ask(publisher);
  }

  readonly #pumpWindow = (): void => {
    this.#immediate = undefined;
    const traffic = this.#traffic;
    if (traffic?.kind !== "window") return;
    for (const stream of this.#streams) {
      const open = traffic.messages - (stream.sent - stream.delivered);
      if (open > 0) stream.due = open;
    }
    this.#flush(nowUs());
  };

  #tick(messagesPerSecond: number): void {
    const now = nowUs();
    const elapsedUs = now - this.#scheduledUs;
    this.#scheduledUs = now;
    this.#owed += (elapsedUs * messagesPerSecond) / 1e6;
    const count = Math.min(Math.floor(this.#owed), CATCH_UP_MESSAGES_MAX);
    this.#owed -= count;
    for (let i = 0; i < count; i++) {
      this.#streams[this.#cursor]!.due++;
      this.#cursor = (this.#cursor + 1) % this.#streams.length;
    }
    if (count > 0) this.#flush(now, elapsedUs > LATE_US ? elapsedUs : 0);
    this.#timer = setTimeout(() => this.#tick(messagesPerSecond), TICK_MS);
  }

  /** @param spreadUs what is sent was due over so long a time before now */
  #flush(now: number, spreadUs = 0): void {
    for (const [index, streams] of this.#byPublisher.entries()) {
      let bytes = 0;
      let count = 0;
      for (const stream of streams) {
        bytes += stream.due * stream.frame.length;
        count += stream.due;
      }
      if (bytes === 0) continue;
      const socket = this.#sockets[index]!;
      if (socket.state !== "live" || socket.bufferedBytes > BUFFERED_BYTES_MAX) {
        this.behind += count;
        for (const stream of streams) stream.due = 0;
        continue;
      }
      this.#write(socket, streams, bytes, count, now, spreadUs);
    }
  }

  #write(
    socket: LoadSocket,
    streams: readonly Stream[],
    bytes: number,
    count: number,
    now: number,
    spreadUs: number,
  ): void {
    const buffer = Buffer.allocUnsafe(bytes);
    let at = 0;
    let index = 0;
    for (const stream of streams) {
      for (; stream.due > 0; stream.due--) {
        buffer.set(stream.frame, at);
        const due = spreadUs === 0 ? now : now - Math.round(spreadUs * (1 - ++index / count));
        writeMarker(buffer, at + stream.markerAt, stream.sent++, due);
        at += stream.frame.length;
      }
    }
    this.sent += count;
    socket.write(buffer);
  }

  #ask(publisher: number): void {
    const traffic = this.#traffic;
    if (traffic?.kind !== "acknowledged" || this.#sockets[publisher]!.state !== "live") return;
    const open = traffic.commands - this.#unanswered[publisher]!;
    if (open <= 0) return;
    const now = nowUs();
    this.#unanswered[publisher]! += open;
    for (let i = 0; i < open; i++) this.#askedUs[publisher]!.push(now);
    if (traffic.command === "presence") {
      for (let i = 0; i < open; i++) this.#sockets[publisher]!.write(this.#request[publisher]!);
      this.sent += open;
      return;
    }
    const streams = this.#byPublisher[publisher]!;
    for (let i = 0; i < open; i++) streams[this.#cursor++ % streams.length]!.due++;
    this.#write(
      this.#sockets[publisher]!,
      streams,
      streams.reduce((sum, { due, frame }) => sum + due * frame.length, 0),
      open,
      now,
      0,
    );
  }
}

export function createStream(
  protocol: Protocol,
  channel: string,
  id: number,
  publisher: number,
  payloadBytes: number,
  acknowledged: boolean,
): Stream {
  const payload = protocol.publish(channel, createPayload(payloadBytes, id), acknowledged);
  const frame = clientFrame(protocol.binary ? OPCODE.binary : OPCODE.text, payload);
  return {
    id,
    publisher,
    frame,
    markerAt: findMarker(frame, 0, frame.length),
    sent: 0,
    delivered: 0,
    due: 0,
  };
}
