/**
 * A connection over its rate limit: for an interval its frames are counted and dropped unread, and it is
 * told which. Dropping is cheap, not free: after so many the connection is closed.
 */

import { StarlingError } from "./errors.js";
import type { DroppedFrames } from "./notices.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import type { PendingFrame } from "./pending-frames.js";
import { describeLimit, rateWaitMs, type RateState } from "./rate-limit.js";

/** How long frames are dropped once one was over the limit. What the buckets gain meanwhile is not lost. */
const INTERVAL_MS = 250;
/** Frames that may be over the limit at once; the limit itself forgives as many each second as it lets through. */
const FRAMES_MAX = 1000;
/** How long a client that was closed for its rate is asked to stay away. */
const CLOSE_RETRY_MS = 5_000;

/** What is asked of a connection that is over its limit. */
export interface OverrunConnection extends Connection, RateState {
  /** As Protocol.refOf. */
  refOf(bytes: Uint8Array, binary: boolean): unknown;
}

export class Overrun {
  readonly #edge: EdgeContext;
  readonly #connection: OverrunConnection;
  #frames = 0;
  #bytes = 0;
  #forgivenAtMs: number;
  /** Frames that were dropped in this interval and not told yet. */
  #untold = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(edge: EdgeContext, connection: OverrunConnection, nowMs: number) {
    this.#edge = edge;
    this.#connection = connection;
    this.#forgivenAtMs = nowMs;
  }

  /** From now on, for an interval, the frames that come are to be given to `drop`; `done` is called at its end. */
  begin(done: () => void): void {
    this.#timer = setTimeout(() => {
      done();
      this.#tellUntold();
    }, INTERVAL_MS);
  }

  /** A frame that is over the limit is read for its ref alone. */
  refuse(over: "messages" | "bytes", { bytes, binary, number }: PendingFrame, nowMs: number): void {
    const { rate } = this.#edge.options;
    const waitMs = Math.max(INTERVAL_MS, rateWaitMs(this.#connection, over, rate, bytes.length));
    this.#tell({ from: number, to: number }, describeLimit(over, rate), waitMs, this.#refOf(bytes, binary));
    this.#forgive(nowMs);
    this.#count(bytes.length);
  }

  /** The connection's last frame came within the interval. */
  drop(bytes: number): void {
    this.#untold++;
    this.#count(bytes);
  }

  /** A ping or pong is over the limit. Nothing is told, as nothing waits for it. */
  dropControl(bytes: number, nowMs: number): void {
    this.#forgive(nowMs);
    this.#count(bytes);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #forgive(nowMs: number): void {
    const { messagesPerSecond, bytesPerSecond } = this.#edge.options.rate;
    const seconds = (nowMs - this.#forgivenAtMs) / 1000;
    this.#forgivenAtMs = nowMs;
    this.#frames = Math.max(0, this.#frames - seconds * messagesPerSecond);
    this.#bytes = Math.max(0, this.#bytes - seconds * bytesPerSecond);
  }

  #count(bytes: number): void {
    this.#frames++;
    this.#bytes += bytes;
    if (this.#frames <= FRAMES_MAX && this.#bytes <= this.#edge.options.rate.bytesBurst) return;
    const pending = this.#connection.dropPending();
    if (pending !== undefined) {
      const { from, to } = pending;
      this.#tell(
        pending,
        `frames ${from} to ${to} were dropped: the rate limit is exceeded`,
        CLOSE_RETRY_MS,
        undefined,
      );
    }
    this.#tellUntold();
    this.#connection.close("rate_limited", { retryAfterMs: CLOSE_RETRY_MS });
  }

  #tellUntold(): void {
    const count = this.#untold;
    if (count === 0) return;
    this.#untold = 0;
    const to = this.#connection.framesIn;
    this.#tell(
      { from: to - count + 1, to },
      `${count} more frames over the rate limit were dropped within ${INTERVAL_MS} ms`,
      INTERVAL_MS,
      undefined,
    );
  }

  #tell(dropped: DroppedFrames, message: string, retryAfterMs: number, ref: unknown): void {
    if (this.#connection.isClosed) return;
    this.#edge.stats.reject("rate_limited", dropped.to - dropped.from + 1);
    const error = new StarlingError("rate_limited", message, { retryAfterMs });
    this.#connection.notify({ kind: "error", error, ref, dropped });
  }

  #refOf(bytes: Uint8Array, binary: boolean): unknown {
    if (bytes.length > this.#edge.options.maxFrameBytes) return undefined;
    return this.#connection.refOf(bytes, binary);
  }
}
