/** The half of a connection that receives: frames within the limits go to the protocol, in order. */

import { StarlingError } from "../errors.js";
import type { FrameTaker } from "../frame-turns.js";
import type { DroppedFrames } from "../notices.js";
import { Overrun, type OverrunConnection } from "../overrun.js";
import { PendingFrames, type PendingFrame } from "../pending-frames.js";
import type { ProtocolConnection } from "../protocol.js";
import { withRare, type RareState } from "../rare-state.js";
import { RATE_STATE, chargeRate, owesRate, takeRate, type RateState } from "../rate-limit.js";
import { Outgoing } from "./outgoing.js";

/** Frames that only ask for a sign of life are short: an id of 64 characters, each escaped, is the longest part. */
const PING_BYTES_MAX = 512;

export abstract class Incoming extends Outgoing implements FrameTaker, RateState {
  awaitingPong = false;
  rateMilliMessages = RATE_STATE.rateMilliMessages;
  rateBytes = RATE_STATE.rateBytes;
  rateMilliBytes = RATE_STATE.rateMilliBytes;
  rateAtMs = RATE_STATE.rateAtMs;
  /** What frames that come now wait for, counted: earlier frames of the connection that are being worked on, mostly. */
  protected waits = 0;
  /** It is over its rate limit: frames are dropped. */
  #dropping = false;
  /** Frames that came, numbered from 1. */
  framesIn = 0;
  protected rare: RareState | undefined;

  protected setRare<Name extends keyof RareState>(name: Name, value: RareState[Name]): void {
    this.rare = withRare(this.rare, name, value);
  }

  /** This, as what it is in whole. */
  protected abstract get self(): ProtocolConnection & OverrunConnection;
  protected abstract noteActivity(nowMs: number): void;
  /** Frames that came before the socket's end are taken. */
  protected abstract taken(): void;

  message(frame: Uint8Array, binary: boolean): void {
    const { counts } = this.served;
    counts.messagesIn++;
    counts.bytesIn += frame.length;
    this.framesIn++;
    this.awaitingPong = false;
    if (this.#dropping) {
      this.rare?.overrun?.drop(frame.length);
      return;
    }
    const edge = this.edge;
    const nowMs = performance.now();
    this.noteActivity(nowMs);
    const over = takeRate(this, edge.options.rate, frame.length, nowMs);
    if (over !== undefined) {
      this.#refuse(over, { bytes: frame, binary, number: this.framesIn }, nowMs);
      return;
    }
    if (this.waits === 0 && this.rare?.pending !== undefined && edge.frameTurns.full) this.#takeAll();
    if (this.waits > 0 || this.rare?.pending !== undefined) {
      if (!this.#answeredPing(frame, binary, nowMs)) this.#enqueue(frame, binary);
      return;
    }
    const gate = edge.registrationGate(nowMs);
    if (gate !== undefined) {
      this.wait(gate);
      this.#enqueue(frame, binary);
      return;
    }
    if (edge.frameTurns.allow(this) || edge.frameTurns.full) {
      this.#take(frame, binary);
      return;
    }
    this.#enqueue(frame, binary);
    edge.frameTurns.wait(this);
  }

  #take(frame: Uint8Array, binary: boolean): void {
    const { maxFrameBytes } = this.edge.options;
    try {
      if (frame.length > maxFrameBytes) {
        const message = `the frame has ${frame.length} bytes, at most ${maxFrameBytes} are allowed (maxFrameBytes)`;
        this.self.fail(new StarlingError("too_large", message), this.self.refOf(frame, binary));
        return;
      }
      const waiting = this.protocol.frame(this.self, frame, binary);
      if (waiting !== undefined)
        this.wait(waiting.catch((error: unknown) => this.self.fail(error, undefined)));
    } catch (error) {
      this.self.fail(error, undefined);
    }
  }

  /**
   * Answers a ping while earlier frames are being worked on: the client must not take the node for dead. Where all wait
   * because the node's registration lapsed the ping does too: another node may have the session.
   */
  #answeredPing(frame: Uint8Array, binary: boolean, nowMs: number): boolean {
    if (this.waits === 0 || frame.length > PING_BYTES_MAX) return false;
    if (this.edge.registrationGate(nowMs) !== undefined) return false;
    try {
      return this.protocol.answerPing?.(this.self, frame, binary) === true;
    } catch (error) {
      this.self.fail(error, undefined);
      return true;
    }
  }

  /** A frame is over the rate limit: it is answered, and those that come within an interval are dropped. */
  #refuse(over: "messages" | "bytes", frame: PendingFrame, nowMs: number): void {
    const overrun = this.#overrun(nowMs);
    if (!this.#dropping) {
      this.#dropping = true;
      overrun.begin(() => (this.#dropping = false));
    }
    overrun.refuse(over, frame, nowMs);
  }

  #overrun(nowMs: number): Overrun {
    let overrun = this.rare?.overrun;
    if (overrun === undefined) this.setRare("overrun", (overrun = new Overrun(this.edge, this.self, nowMs)));
    return overrun;
  }

  /** Holds later frames back until `until` settled; it must not reject. */
  wait(until: Promise<void>): void {
    this.waits++;
    void until.then(() => {
      if (--this.waits > 0) return;
      if (this.rare?.pending === undefined) {
        if (this.isClosed) this.taken();
        return;
      }
      if (this.edge.frameTurns.mayResume()) this.takeWaiting();
      else this.edge.frameTurns.wait(this);
    });
  }

  #enqueue(bytes: Uint8Array, binary: boolean): void {
    const { options, stats } = this.edge;
    let pending = this.rare?.pending;
    if (pending === undefined)
      this.setRare("pending", (pending = new PendingFrames(this.edge.frameTurns.waiting)));
    const frame = { bytes, binary, number: this.framesIn };
    if (this.waits === 0) pending.push(frame);
    else if (!pending.pushBehindCommand(frame, options)) {
      stats.reject("overloaded");
      this.self.close("overloaded");
    }
  }

  /** Takes what waits, until one of them has to wait or others are to have their turn. */
  takeWaiting(): void {
    if (this.rare?.pending === undefined) return;
    if (this.socket === undefined) this.#takePending();
    else this.socket.cork(() => this.#takePending());
  }

  #takePending(): void {
    const { frameTurns } = this.edge;
    const nowMs = performance.now();
    while (this.waits === 0 && this.rare?.pending !== undefined) {
      if (!frameTurns.allow(this)) {
        frameTurns.wait(this);
        return;
      }
      this.#takeNext(this.rare.pending, nowMs);
    }
    // What waits for an answer is taken after it has left.
    if (this.isClosed && (this.waits > 0 || this.rare?.pending === undefined)) this.taken();
  }

  /** Takes what waits, out of turn. */
  #takeAll(): void {
    const nowMs = performance.now();
    while (this.waits === 0 && this.rare?.pending !== undefined) this.#takeNext(this.rare.pending, nowMs);
  }

  #takeNext(pending: PendingFrames, nowMs: number): void {
    const next = pending.shift();
    if (next === undefined) this.setRare("pending", undefined);
    else if (!this.isClosed && owesRate(this, this.edge.options.rate, nowMs))
      this.#refuse("messages", next, nowMs);
    else this.#take(next.bytes, next.binary);
  }

  /** Forgets the frames that still wait. @returns which they were */
  dropPending(): DroppedFrames | undefined {
    const pending = this.rare?.pending;
    const numbers = pending?.numbers();
    pending?.clear();
    this.setRare("pending", undefined);
    return numbers;
  }

  /** Pings and pongs count as frames do; those over the limit are dropped unsaid, but not without end. */
  control(bytes: number): void {
    this.awaitingPong = false;
    if (this.isClosed) return;
    const nowMs = performance.now();
    if (takeRate(this, this.edge.options.rate, bytes, nowMs) === undefined) return;
    this.#overrun(nowMs).dropControl(bytes, nowMs);
  }

  /** What an answer cost beyond its request counts towards the rate limit. */
  charge(cost: { readonly items: number; readonly bytes: number }): void {
    chargeRate(this, this.edge.options.rate, cost);
  }
}
