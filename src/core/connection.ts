/**
 * One socket of one client: takes its frames in order, answers them, and holds
 * what the node knows about it. A node holds very many: one flat object each.
 */

import { CODECS } from "../protocol/codecs.js";
import type { Codec } from "../protocol/codec.js";
import { CommandError } from "../protocol/command-fields.js";
import { CLOSE_CODES, StarlingError, mayReconnect, type CloseName } from "../protocol/errors.js";
import type { CommandId, DroppedFrames, Position, ServerMessage } from "../protocol/messages.js";
import { closingMessage, errorMessage } from "../protocol/refusals.js";
import { endOf, type Identity } from "./authorizer.js";
import type { LocalChannel } from "./channel.js";
import { checkFrame } from "./command-checks.js";
import { execute } from "./commands.js";
import { authenticateAtUpgrade, welcome } from "./connect.js";
import type { EdgeContext } from "./context.js";
import type { Few } from "./few.js";
import type { FrameTaker } from "./frame-turns.js";
import type { HeartbeatMember } from "./heartbeat.js";
import { PendingFrames, type PendingFrame } from "./pending-frames.js";
import { Overrun } from "./overrun.js";
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
  readonly app: string;
  /** Which of CODECS it speaks. */
  readonly codecIndex: number;
  channels: Few<LocalChannel>;
  readonly #edge: EdgeContext;
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
  /** A command is waiting: later frames wait too. */
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
    app: string;
    codecIndex: number;
    /** Given with the upgrade request. */
    token: string | undefined;
  }) {
    this.#edge = options.edge;
    this.id = options.id;
    this.sessionId = options.id;
    this.app = options.app;
    this.codecIndex = options.codecIndex;
    this.#setRare("token", options.token);
    this.identity = options.edge.authorizer.anonymous;
    this.connectedAt = Math.floor(Date.now() / 1000);
    this.lastActivity = this.connectedAt;
  }

  get codec(): Codec {
    return CODECS[this.codecIndex]!;
  }

  /** null: not identified. */
  get userId(): string | null {
    return this.identity?.userId ?? null;
  }

  get isClosed(): boolean {
    return this.#socket === undefined;
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

  #setRare<Name extends keyof RareState>(name: Name, value: RareState[Name]): void {
    this.#rare = withRare(this.#rare, name, value);
  }

  get resumeSecret(): string {
    return this.#edge.identifiers.secretOf(this.id);
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
    const channels = this.channelNames();
    const { restoring } = this;
    return {
      session: this.sessionId,
      app: this.app,
      userId: this.userId,
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
    const { options, hub, heartbeat, registry, stats, expiry, terms } = this.#edge;
    stats.connects++;
    stats.connections++;
    hub.add(this);
    heartbeat.add(this);
    registry.put(this);
    if (this.identity === undefined) {
      expiry.at(Date.now() / 1000 + options.connectTimeoutMs / 1000, this);
    }
    this.send(welcome(this, terms));
    const token = this.#rare?.token;
    if (token !== undefined) {
      this.#setRare("token", undefined);
      this.wait(authenticateAtUpgrade(this.#edge, this, token));
    }
  }

  message(frame: Uint8Array, binary: boolean): void {
    const { stats } = this.#edge;
    const counts = stats.codecs[this.codecIndex]!;
    counts.messagesIn++;
    counts.bytesIn += frame.length;
    this.framesIn++;
    this.awaitingPong = false;
    if (this.#dropping) {
      this.#rare?.overrun?.drop(frame.length);
      return;
    }
    const edge = this.#edge;
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
    let id: CommandId | undefined;
    try {
      checkFrame(frame, binary, this.codec, this.#edge.options.maxFrameBytes);
      const command = this.codec.decode(frame);
      id = command.id;
      const waiting = execute(this.#edge, this, command);
      if (waiting !== undefined) this.wait(waiting.catch((error: unknown) => this.fail(error, id)));
    } catch (error) {
      if (error instanceof CommandError) id = error.commandId;
      this.fail(error, id);
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
    if (overrun === undefined) this.#setRare("overrun", (overrun = new Overrun(this.#edge, this, nowMs)));
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
    const { options, stats } = this.#edge;
    let pending = this.#rare?.pending;
    if (pending === undefined) this.#setRare("pending", (pending = new PendingFrames()));
    const frame = { bytes, binary, number: this.framesIn };
    if (!this.#waiting) pending.push(frame);
    else if (!pending.pushBehindCommand(frame, options)) {
      stats.reject("overloaded");
      this.close("overloaded");
    }
  }

  /** Takes what waits, until a command of it has to wait or others are to have their turn. */
  takeWaiting(): void {
    if (this.#rare?.pending === undefined) return;
    if (this.#socket === undefined) this.#takePending();
    else this.#socket.cork(() => this.#takePending());
  }

  #takePending(): void {
    const { frameTurns, options } = this.#edge;
    const nowMs = performance.now();
    while (!this.#waiting && this.#rare?.pending !== undefined) {
      if (!frameTurns.allow(this)) {
        frameTurns.wait(this);
        return;
      }
      const next = this.#rare.pending.shift();
      if (next === undefined) this.#setRare("pending", undefined);
      else if (this.isClosed) this.#takeLate(next);
      else if (owesRate(this, options.rate, nowMs)) this.#refuse("messages", next, nowMs);
      else this.#take(next.bytes, next.binary);
    }
    const closedWith = this.#rare?.closedWith;
    if (closedWith !== undefined && this.#rare?.pending === undefined) this.#leave(closedWith, true);
  }

  /** The client sent it and then closed: what it published is published, all else would be for nobody. */
  #takeLate({ bytes, binary }: PendingFrame): void {
    try {
      checkFrame(bytes, binary, this.codec, this.#edge.options.maxFrameBytes);
      const command = this.codec.decode(bytes);
      if (command.action === "send") void execute(this.#edge, this, command);
    } catch (error) {
      if (error instanceof StarlingError) this.#edge.stats.reject(error.code);
      else this.#edge.log.error({ err: error, connection: this.id }, "a frame of a closed connection failed");
    }
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
    this.#edge.registry.put(this);
  }

  send(message: ServerMessage): void {
    if (!this.isClosed) this.sendEncoded(this.codec.encode(message));
  }

  sendEncoded(frame: Uint8Array): void {
    if (!this.isClosed && this.sendFrame(frame) !== "sent") this.checkBuffered();
  }

  /** What an answer cost beyond its request counts towards the rate limit. */
  charge(cost: { readonly items: number; readonly bytes: number }): void {
    chargeRate(this, this.#edge.options.rate, cost);
  }

  /** Without a look at what waits already: for several in a row, with a look behind the last. */
  sendFrame(frame: Uint8Array): SendResult {
    if (this.#socket === undefined) return "dropped";
    const counts = this.#edge.stats.codecs[this.codecIndex]!;
    counts.messagesOut++;
    counts.bytesOut += frame.length;
    const result = SEND_RESULTS[this.#socket.send(frame, this.codec.binary)]!;
    if (result === "dropped") this.#edge.hub.lost(this);
    return result;
  }

  /** Answers a command that failed. What is not a StarlingError is a fault of ours: it ends the session. */
  fail(error: unknown, id: CommandId | undefined): void {
    if (this.isClosed) return;
    if (!(error instanceof StarlingError)) {
      this.#edge.stats.sessionFaults++;
      this.#edge.log.error({ err: error, connection: this.id }, "a fault ended this connection");
      this.close("internal");
      return;
    }
    this.#edge.stats.reject(error.code);
    this.send(errorMessage(error, id));
  }

  /** Says why, closes, and forgets. */
  close(name: CloseName, options: { reason?: string; retryAfterMs?: number; code?: number } = {}): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    const code = options.code ?? CLOSE_CODES[name].code;
    const reason = options.reason ?? name;
    // A slow reader would not read it, and has no room for it.
    if (name !== "slow_reader") {
      const last = this.codec.encode(closingMessage(code, reason, options.retryAfterMs));
      socket.send(last, this.codec.binary);
    }
    this.#socket = undefined;
    socket.end(code, Buffer.from(reason));
  }

  /** Puts it on a channel's topic. */
  hear(channel: LocalChannel): void {
    channel.subscribers[this.codecIndex]!++;
    this.#socket?.subscribe(channel.topics[this.codecIndex]!);
  }

  /** Takes it off a channel's topic. */
  unhear(channel: LocalChannel): void {
    channel.subscribers[this.codecIndex]!--;
    this.#socket?.unsubscribe(channel.topics[this.codecIndex]!);
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
    if (!this.isClosed) this.#edge.slowReaders.check(this);
  }

  closeSlow(): void {
    if (this.isClosed) return;
    this.#edge.stats.slowCloses++;
    this.close("slow_reader");
  }

  beat(): void {
    if (this.#socket === undefined) return;
    const waiting = SEND_RESULTS[this.#socket.ping()] === "sent" ? 0 : this.bufferedBytes();
    this.#setRare("bufferedAtBeat", waiting > 0 ? waiting : undefined);
  }

  heartbeatMissed(): void {
    // A ping behind a backlog that shrinks is still on its way: the reader is slow, not dead.
    if (this.bufferedBytes() < (this.#rare?.bufferedAtBeat ?? 0)) return;
    this.#edge.stats.heartbeatTimeouts++;
    this.close("heartbeat_timeout");
  }

  /** Pings and pongs count as frames do; those over the limit are dropped unsaid, but not without end. */
  control(bytes: number): void {
    this.awaitingPong = false;
    if (this.isClosed) return;
    const nowMs = performance.now();
    if (takeRate(this, this.#edge.options.rate, bytes, nowMs) === undefined) return;
    this.#overrun(nowMs).dropControl(bytes, nowMs);
  }

  drained(): void {
    this.awaitingPong = false;
    this.#edge.slowReaders.drained(this);
  }

  dropped(): void {
    this.#edge.stats.dropReports++;
    this.#edge.hub.lost(this);
  }

  /** Asked by the expiry when a second is over at which this connection may have run out. */
  expired(): void {
    if (this.isClosed) return;
    if (this.identity === undefined) return this.close("connect_timeout");
    const end = endOf(this.#edge.authorizer, this.identity);
    if (end !== undefined && end <= Date.now() / 1000) this.close("token_expired");
  }

  /** The socket is gone: leaves everything but what the registry still writes about this connection. */
  closed(code: number): void {
    const byPeer = this.#socket !== undefined;
    this.#socket = undefined;
    if (byPeer && !this.#waiting && this.#rare?.pending !== undefined) this.#setRare("closedWith", code);
    else this.#leave(code, byPeer);
  }

  #leave(code: number, byPeer: boolean): void {
    this.#setRare("closedWith", undefined);
    this.#rare?.overrun?.stop();
    this.#setRare("overrun", undefined);
    this.#setRare("pending", undefined);
    const { hub, heartbeat, registry, stats, expiry } = this.#edge;
    heartbeat.remove(this);
    const end = endOf(this.#edge.authorizer, this.identity);
    if (end !== undefined) expiry.cancel(end, this);
    hub.remove(this);
    this.#edge.slowReaders.forget(this);
    // A session that another connection has is not this one's to leave behind.
    const kept = code !== (byPeer ? CLOSE_CODES.normal.code : CLOSE_CODES.superseded.code);
    registry.remove(this, kept && (byPeer || mayReconnect(code)));
    stats.connections--;
    stats.disconnect(code);
    this.#edge.forget(this);
  }
}
