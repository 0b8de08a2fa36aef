/**
 * One socket of one client: takes its frames in order and hands them to its protocol, sends what the protocol
 * makes, and holds what the node knows about it. A node holds very many: one flat object each.
 */

import type { App } from "./app.js";
import { endOf, type Identity } from "./authorizer.js";
import type { LocalChannel } from "./channel.js";
import { CLOSE_REASONS, type CloseReason, type Closing } from "./closing.js";
import type { EdgeContext } from "./context.js";
import { StarlingError } from "./errors.js";
import type { Few } from "./few.js";
import type { FrameTaker } from "./frame-turns.js";
import type { ServedFraming } from "./framings.js";
import type { HeartbeatMember } from "./heartbeat.js";
import type { DroppedFrames, Notice } from "./notices.js";
import { Overrun } from "./overrun.js";
import { PendingFrames, type PendingFrame } from "./pending-frames.js";
import type { Protocol } from "./protocol.js";
import type { Position } from "./publication.js";
import { withRare, type RareState } from "./rare-state.js";
import { RATE_STATE, chargeRate, owesRate, takeRate, type RateState } from "./rate-limit.js";
import {
  UNREGISTERED,
  type ConnectionRecord,
  type RegisteredConnection,
  type RegistryState,
  type SessionRecord,
} from "./registry.js";
import { SEND_RESULTS, type SendResult, type Socket, type SocketHandler } from "./transport.js";

/** Of the clock that performance.now() goes by, since 1970; kept, as asking costs 18 ns of every frame. */
const STARTED_AT_MS = performance.timeOrigin;
/** How often a record's lastActivity may be written, in seconds. */
const ACTIVITY_SECONDS = 60;
/** One for all: a list each would cost a node that holds very many. */
const NONE: readonly string[] = [];

export class Connection
  implements SocketHandler, HeartbeatMember, FrameTaker, RateState, RegisteredConnection
{
  readonly id: string;
  readonly app: App;
  readonly served: ServedFraming;
  channels: Few<LocalChannel>;
  readonly edge: EdgeContext;
  /** Its own id until it resumes another session. */
  sessionId: string;
  /** undefined: it must authenticate first. Changed by users.ts. */
  identity: Identity | undefined;
  heartbeatSlot = -1;
  heartbeatIndex = -1;
  awaitingPong = false;
  /** undefined: not open yet, or closed. */
  #socket: Socket | undefined;
  rateMilliMessages = RATE_STATE.rateMilliMessages;
  rateBytes = RATE_STATE.rateBytes;
  rateMilliBytes = RATE_STATE.rateMilliBytes;
  rateAtMs = RATE_STATE.rateAtMs;
  /** A frame is being worked on: later ones wait. */
  #waiting = false;
  /** It is over its rate limit: frames are dropped. */
  #dropping = false;
  /** Frames that came, numbered from 1. */
  framesIn = 0;
  lastActivity: number;
  readonly connectedAt: number;
  registryState: RegistryState = UNREGISTERED.registryState;
  storedSession = UNREGISTERED.storedSession;
  storedGeneration = UNREGISTERED.storedGeneration;
  #rare: RareState | undefined;

  constructor(options: {
    edge: EdgeContext;
    id: string;
    app: App;
    served: ServedFraming;
    /** Given with the upgrade request. */
    proof: string | undefined;
  }) {
    this.edge = options.edge;
    this.id = options.id;
    this.sessionId = options.id;
    this.app = options.app;
    this.served = options.served;
    this.#setRare("proof", options.proof);
    this.identity = options.app.authorizer.anonymous;
    this.connectedAt = Math.floor(Date.now() / 1000);
    this.lastActivity = this.connectedAt;
  }

  get protocol(): Protocol {
    return this.served.protocol;
  }

  /** null: not identified. */
  get userId(): string | null {
    return this.identity?.userId ?? null;
  }

  get isClosed(): boolean {
    return this.#socket === undefined;
  }

  /** What it brought with its upgrade to prove who it is: handed out once. */
  takeProof(): string | undefined {
    const proof = this.#rare?.proof;
    this.#setRare("proof", undefined);
    return proof;
  }

  /** Channels that it is kept off while it reads what waits for it, and where it stands in each. */
  get skipped(): Map<LocalChannel, Position | undefined> | undefined {
    return this.#rare?.skipped;
  }

  set skipped(skipped: Map<LocalChannel, Position | undefined> | undefined) {
    this.#setRare("skipped", skipped);
  }

  /** Channels of its session that it is about to join again. */
  get restoring(): readonly string[] {
    return this.#rare?.restoring ?? NONE;
  }

  set restoring(restoring: readonly string[]) {
    this.#setRare("restoring", restoring.length > 0 ? restoring : undefined);
  }

  /** Channels whose unsubscribe is yet to be recorded: who subscribes again is answered after that. */
  get leaving(): Map<string, Promise<void>> | undefined {
    return this.#rare?.leaving;
  }

  set leaving(leaving: Map<string, Promise<void>> | undefined) {
    this.#setRare("leaving", leaving);
  }

  #setRare<Name extends keyof RareState>(name: Name, value: RareState[Name]): void {
    this.#rare = withRare(this.#rare, name, value);
  }

  get resumeSecret(): string {
    return this.edge.identifiers.secretOf(this.id);
  }

  get resumeToken(): string {
    return `${this.sessionId}.${this.resumeSecret}`;
  }

  record(): ConnectionRecord {
    return {
      connection: this.id,
      userId: this.userId,
      channels: this.channelNames(),
      connectedAt: this.connectedAt,
      lastActivity: this.lastActivity,
    };
  }

  session(): SessionRecord {
    const { sessionId: session, userId, restoring } = this;
    const app = this.app.id;
    // Without anything to give back it is not kept.
    if (!this.protocol.keepsSessions) return { session, app, userId: null, channels: NONE };
    const channels = this.channelNames();
    return {
      session,
      app,
      userId,
      channels: restoring.length === 0 ? channels : [...channels, ...restoring],
    };
  }

  channelNames(): readonly string[] {
    const { channels } = this;
    if (channels instanceof Set) return Array.from(channels, (channel) => channel.name);
    return channels === undefined ? NONE : channels.nameAlone;
  }

  opened(socket: Socket): void {
    this.#socket = socket;
    const { options, hub, heartbeat, registry, stats, expiry } = this.edge;
    stats.connects++;
    stats.connections++;
    this.app.connections++;
    hub.add(this);
    heartbeat.add(this);
    registry.put(this);
    if (this.identity === undefined) {
      expiry.at(Date.now() / 1000 + options.connectTimeoutMs / 1000, this);
    }
    this.protocol.opened(this);
  }

  message(frame: Uint8Array, binary: boolean): void {
    const { counts } = this.served;
    counts.messagesIn++;
    counts.bytesIn += frame.length;
    this.framesIn++;
    this.awaitingPong = false;
    if (this.#dropping) {
      this.#rare?.overrun?.drop(frame.length);
      return;
    }
    const edge = this.edge;
    const nowMs = performance.now();
    this.#noteActivity(nowMs);
    const over = takeRate(this, edge.options.rate, frame.length, nowMs);
    if (over !== undefined) {
      this.#refuse(over, { bytes: frame, binary, number: this.framesIn }, nowMs);
      return;
    }
    if (this.#waiting || this.#rare?.pending !== undefined) {
      this.#enqueue(frame, binary);
      return;
    }
    const gate = edge.registrationGate(nowMs);
    if (gate !== undefined) {
      this.wait(gate);
      this.#enqueue(frame, binary);
      return;
    }
    if (edge.frameTurns.allow(this)) {
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
        const message = `the frame has ${frame.length} bytes, at most ${maxFrameBytes} are allowed`;
        throw new StarlingError("too_large", message);
      }
      const waiting = this.protocol.frame(this, frame, binary);
      if (waiting !== undefined) this.wait(waiting.catch((error: unknown) => this.fail(error, undefined)));
    } catch (error) {
      this.fail(error, undefined);
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
    let overrun = this.#rare?.overrun;
    if (overrun === undefined) this.#setRare("overrun", (overrun = new Overrun(this.edge, this, nowMs)));
    return overrun;
  }

  /** Holds later frames back until `until` settled; it must not reject. */
  wait(until: Promise<void>): void {
    this.#waiting = true;
    void until.then(() => {
      this.#waiting = false;
      this.takeWaiting();
    });
  }

  #enqueue(bytes: Uint8Array, binary: boolean): void {
    const { options, stats } = this.edge;
    let pending = this.#rare?.pending;
    if (pending === undefined) this.#setRare("pending", (pending = new PendingFrames()));
    const frame = { bytes, binary, number: this.framesIn };
    if (!this.#waiting) pending.push(frame);
    else if (!pending.pushBehindCommand(frame, options)) {
      stats.reject("overloaded");
      this.close("overloaded");
    }
  }

  /** Takes what waits, until one of them has to wait or others are to have their turn. */
  takeWaiting(): void {
    if (this.#rare?.pending === undefined) return;
    if (this.#socket === undefined) this.#takePending();
    else this.#socket.cork(() => this.#takePending());
  }

  #takePending(): void {
    const { frameTurns, options } = this.edge;
    const nowMs = performance.now();
    while (!this.#waiting && this.#rare?.pending !== undefined) {
      if (!frameTurns.allow(this)) {
        frameTurns.wait(this);
        return;
      }
      const next = this.#rare.pending.shift();
      if (next === undefined) this.#setRare("pending", undefined);
      else if (!this.isClosed && owesRate(this, options.rate, nowMs)) this.#refuse("messages", next, nowMs);
      else this.#take(next.bytes, next.binary);
    }
    const closedWith = this.#rare?.closedWith;
    if (closedWith !== undefined && this.#rare?.pending === undefined) this.#leave(closedWith, undefined);
  }

  /** Forgets the frames that still wait. @returns which they were */
  dropPending(): DroppedFrames | undefined {
    const pending = this.#rare?.pending;
    this.#setRare("pending", undefined);
    return pending?.numbers();
  }

  #noteActivity(nowMs: number): void {
    const nowSeconds = Math.floor((STARTED_AT_MS + nowMs) / 1000);
    if (nowSeconds - this.lastActivity < ACTIVITY_SECONDS) return;
    this.lastActivity = nowSeconds;
    this.edge.registry.put(this);
  }

  notify(notice: Notice): void {
    if (!this.isClosed) this.protocol.notify(this, notice);
  }

  send(frame: Uint8Array): void {
    if (!this.isClosed && this.sendFrame(frame) !== "sent") this.checkBuffered();
  }

  /** What an answer cost beyond its request counts towards the rate limit. */
  charge(cost: { readonly items: number; readonly bytes: number }): void {
    chargeRate(this, this.edge.options.rate, cost);
  }

  /** Without a look at what waits already: for several in a row, with a look behind the last. */
  sendFrame(frame: Uint8Array): SendResult {
    if (this.#socket === undefined) return "dropped";
    const { counts, framing } = this.served;
    counts.messagesOut++;
    counts.bytesOut += frame.length;
    const result = SEND_RESULTS[this.#socket.send(frame, framing.binary)]!;
    if (result === "dropped") this.edge.hub.lost(this);
    return result;
  }

  /**
   * Tells that a frame failed. What is not a StarlingError is a fault of ours: it ends the session.
   * @param ref  of that frame, as the protocol names it
   */
  fail(error: unknown, ref: unknown): void {
    if (error instanceof StarlingError) {
      this.edge.stats.reject(error.code);
      this.notify({ kind: "error", error, ref });
      return;
    }
    this.edge.stats.sessionFaults++;
    this.edge.log.error({ err: error, connection: this.id }, "a fault ended this connection");
    this.close("internal");
  }

  /** Says why, closes, and forgets. */
  close(reason: CloseReason, details: Partial<Omit<Closing, "reason">> = {}): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    const closing: Closing = { ...details, reason, message: details.message ?? reason };
    // A slow reader would not read it, and has no room for it.
    if (reason !== "slow_reader") this.protocol.notify(this, { kind: "closing", closing });
    this.#setRare("closing", closing);
    this.#socket = undefined;
    socket.end(this.protocol.closeCode(reason), Buffer.from(closing.message));
  }

  /** Puts it on a channel's topic. */
  hear(channel: LocalChannel): void {
    const topic = channel.topic(this.served);
    topic.subscribers++;
    this.#socket?.subscribe(topic.name);
  }

  /** Takes it off a channel's topic. */
  unhear(channel: LocalChannel): void {
    const topic = channel.topic(this.served);
    topic.subscribers--;
    this.#socket?.unsubscribe(topic.name);
  }

  /** To all on a topic that it is on, but it. */
  publishToOthers(topic: string, frame: Uint8Array, binary: boolean): void {
    this.#socket?.publish(topic, frame, binary);
  }

  /** That wait in this process for the client to read. */
  bufferedBytes(): number {
    return this.#socket?.getBufferedAmount() ?? 0;
  }

  checkBuffered(): void {
    if (!this.isClosed) this.edge.slowReaders.check(this);
  }

  closeSlow(): void {
    if (this.isClosed) return;
    this.edge.stats.slowCloses++;
    this.close("slow_reader");
  }

  beat(): void {
    if (this.#socket === undefined) return;
    const waiting = this.protocol.beat(this) ? 0 : this.bufferedBytes();
    this.#setRare("bufferedAtBeat", waiting > 0 ? waiting : undefined);
  }

  /** Sends a ping of the transport. @returns whether it left this process at once */
  ping(): boolean {
    return this.#socket !== undefined && SEND_RESULTS[this.#socket.ping()] === "sent";
  }

  heartbeatMissed(): void {
    // A ping behind a backlog that shrinks is still on its way: the reader is slow, not dead.
    if (this.bufferedBytes() < (this.#rare?.bufferedAtBeat ?? 0)) return;
    this.edge.stats.heartbeatTimeouts++;
    this.close("heartbeat_timeout");
  }

  /** Pings and pongs count as frames do; those over the limit are dropped unsaid, but not without end. */
  control(bytes: number): void {
    this.awaitingPong = false;
    if (this.isClosed) return;
    const nowMs = performance.now();
    if (takeRate(this, this.edge.options.rate, bytes, nowMs) === undefined) return;
    this.#overrun(nowMs).dropControl(bytes, nowMs);
  }

  drained(): void {
    this.awaitingPong = false;
    this.edge.slowReaders.drained(this);
  }

  dropped(): void {
    this.edge.stats.dropReports++;
    this.edge.hub.lost(this);
  }

  /** Asked by the expiry when a second is over at which this connection may have run out. */
  expired(): void {
    if (this.isClosed) return;
    if (this.identity === undefined) return this.close("connect_timeout");
    const end = endOf(this.app.authorizer, this.identity);
    if (end !== undefined && end <= Date.now() / 1000) this.close("token_expired");
    // The app's clock tolerance was raised meanwhile.
    else if (end !== undefined) this.edge.expiry.at(end, this);
  }

  /** The socket is gone: leaves everything but what the registry still writes about this connection. */
  closed(code: number): void {
    this.#socket = undefined;
    const closing = this.#rare?.closing;
    if (closing === undefined && !this.#waiting && this.#rare?.pending !== undefined) {
      // What the client published before is taken first.
      this.#setRare("closedWith", code);
      return;
    }
    this.#leave(code, closing);
  }

  /** @param closing  undefined: the client closed, or the connection was lost */
  #leave(code: number, closing: Closing | undefined): void {
    this.#rare?.overrun?.stop();
    for (const name of ["overrun", "pending", "closedWith", "closing"] as const) this.#setRare(name, undefined);
    const { hub, heartbeat, registry, stats, expiry } = this.edge;
    heartbeat.remove(this);
    const end = endOf(this.app.authorizer, this.identity);
    if (end !== undefined) expiry.cancel(end, this);
    hub.remove(this);
    this.edge.slowReaders.forget(this);
    const { protocol } = this;
    const peer = closing === undefined ? protocol.peerClosed(code) : undefined;
    const resumable = closing === undefined ? peer !== "goodbye" : CLOSE_REASONS[closing.reason].resumable;
    registry.remove(this, protocol.keepsSessions && resumable);
    stats.connections--;
    this.app.connections--;
    stats.disconnect(protocol.name, closing?.reason ?? (peer === "lost" ? "lost" : "client"));
    this.edge.forget(this);
  }
}
