/**
 * One socket of one client, and what the node knows about it: who it is, its channels, its session, and its life from
 * open to close. What it receives is in incoming.ts, what it is sent in outgoing.ts; all three are one flat object,
 * as a node holds very many.
 */

import { revoke } from "../actions/unsubscribe.js";
import type { App } from "../app.js";
import { endOf, type Identity } from "../authorizer.js";
import type { LocalChannel } from "../channel.js";
import { CLOSE_REASONS, type CloseReason, type Closing } from "../closing.js";
import type { EdgeContext } from "../context.js";
import { StarlingError } from "../errors.js";
import { GRANT_BY_IDENTITY, type Grant } from "../grant.js";
import type { SmallSet } from "../small-set.js";
import type { ServedFraming } from "../framings.js";
import type { HeartbeatMember } from "../heartbeat.js";
import type { Notice } from "../notices.js";
import type { OverrunConnection } from "../overrun.js";
import type { ProtocolConnection } from "../protocol.js";
import type { Position } from "../publication.js";
import { UNREGISTERED, type ConnectionRecord, type RegistryState, type SessionRecord } from "../registry.js";
import type { Socket, SocketHandler } from "../transport.js";
import { Incoming } from "./incoming.js";

/** Of the clock that performance.now() goes by, since 1970; kept, as asking costs 18 ns of every frame. */
const STARTED_AT_MS = performance.timeOrigin;
/** How often a record's lastActivity may be written, in seconds. */
const ACTIVITY_SECONDS = 60;
/** One for all: a list each would cost a node that holds very many. */
const NONE: readonly string[] = [];
const NO_GRANTS: readonly Grant[] = [];
const TOKEN_EXPIRED: Closing = { reason: "token_expired", message: "token_expired" };

export class ClientConnection
  extends Incoming
  implements ProtocolConnection, OverrunConnection, SocketHandler, HeartbeatMember
{
  readonly id: string;
  readonly app: App;
  channels: SmallSet<LocalChannel>;
  /** Its own id until it resumes another session. */
  sessionId: string;
  identity: Identity | undefined;
  heartbeatSlot = -1;
  heartbeatIndex = -1;
  lastActivity: number;
  readonly connectedAt: number;
  registryState: RegistryState = UNREGISTERED.registryState;
  storedSession = UNREGISTERED.storedSession;
  storedGeneration = UNREGISTERED.storedGeneration;

  constructor(options: {
    edge: EdgeContext;
    id: string;
    app: App;
    served: ServedFraming;
    /** Given with the upgrade request. */
    proof: string | undefined;
  }) {
    super(options.edge, options.served);
    this.id = options.id;
    this.sessionId = options.id;
    this.app = options.app;
    this.setRare("proof", options.proof);
    this.identity = options.app.authorizer.anonymous;
    this.connectedAt = Math.floor(Date.now() / 1000);
    this.lastActivity = this.connectedAt;
  }

  protected get self(): this {
    return this;
  }

  get userId(): string | null {
    return this.identity?.userId ?? null;
  }

  takeProof(): string | undefined {
    const proof = this.rare?.proof;
    this.setRare("proof", undefined);
    return proof;
  }

  get protocolState(): object | undefined {
    return this.rare?.protocolState;
  }

  set protocolState(state: object | undefined) {
    this.setRare("protocolState", state);
  }

  get skipped(): Map<LocalChannel, Position | undefined> | undefined {
    return this.rare?.skipped;
  }

  set skipped(skipped: Map<LocalChannel, Position | undefined> | undefined) {
    this.setRare("skipped", skipped);
  }

  get restoring(): readonly string[] {
    return this.rare?.restoring ?? NONE;
  }

  set restoring(restoring: readonly string[]) {
    this.setRare("restoring", restoring.length > 0 ? restoring : undefined);
  }

  get revoked(): Set<Set<string>> | undefined {
    return this.rare?.revoked;
  }

  set revoked(revoked: Set<Set<string>> | undefined) {
    this.setRare("revoked", revoked);
  }

  get leaving(): Map<string, Promise<void>> | undefined {
    return this.rare?.leaving;
  }

  set leaving(leaving: Map<string, Promise<void>> | undefined) {
    this.setRare("leaving", leaving);
  }

  get grants(): ReadonlyMap<LocalChannel, Grant> | undefined {
    return this.rare?.grants;
  }

  keepGrant(channel: LocalChannel, grant: Grant | undefined): void {
    const grants = this.rare?.grants;
    const kept = grant === GRANT_BY_IDENTITY ? undefined : grant;
    const former = grants?.get(channel);
    if (former === kept) return;
    // Of very many grants the first end is looked for only where one of the two has any.
    const ends = former?.expiresAt !== undefined || kept?.expiresAt !== undefined;
    const formerEnd = ends ? this.nextEnd : undefined;
    if (kept !== undefined)
      this.setRare("grants", (grants ?? new Map<LocalChannel, Grant>()).set(channel, kept));
    else if (grants?.delete(channel) === true && grants.size === 0) this.setRare("grants", undefined);
    if (ends && !this.isClosed) this.edge.expiry.move(formerEnd, this.nextEnd, this);
  }

  get nextEnd(): number | undefined {
    const { authorizer } = this.app;
    let next = endOf(authorizer, this.identity);
    for (const grant of this.grants?.values() ?? NO_GRANTS) {
      const end = endOf(authorizer, grant);
      if (end !== undefined && !(next !== undefined && next <= end)) next = end;
    }
    return next;
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
    this.socket = socket;
    const { options, hub, heartbeat, registry, stats, expiry } = this.edge;
    stats.connects++;
    stats.connections++;
    this.served.counts.connections++;
    this.app.connections++;
    hub.add(this);
    heartbeat.add(this);
    registry.put(this);
    if (this.identity === undefined) {
      expiry.at(Date.now() / 1000 + options.connectTimeoutMs / 1000, this);
    }
    this.protocol.opened(this);
  }

  fail(error: unknown, ref: unknown): void {
    if (error instanceof StarlingError) {
      // Who is gone is not refused anything.
      if (this.isClosed) return;
      this.edge.stats.reject(error.code);
      this.edge.logRefusal(`a client was refused: ${error.message}`, () => ({
        ...{ app: this.app.id, connection: this.id, code: error.code },
      }));
      this.notify({ kind: "error", error, ref });
      return;
    }
    this.edge.stats.sessionFaults++;
    this.edge.log.error({ err: error, connection: this.id }, "an internal error ended this connection");
    this.close("internal");
  }

  /** Says why, closes, and forgets. */
  close(reason: CloseReason, details: Partial<Omit<Closing, "reason">> = {}): void {
    const socket = this.socket;
    // What is said last may find that it waits behind too much: it is closed already.
    if (socket === undefined || this.rare?.closing !== undefined) return;
    const closing: Closing = { ...details, reason, message: details.message ?? reason };
    this.setRare("closing", closing);
    // A slow reader would not read it, and has no room for it.
    if (reason !== "slow_reader") this.protocol.notify(this, { kind: "closing", closing });
    this.socket = undefined;
    socket.end(this.protocol.closeCode(reason), Buffer.from(closing.message));
  }

  notify(notice: Notice): void {
    if (!this.isClosed) this.protocol.notify(this, notice);
  }

  published(ref: unknown, failure: StarlingError | undefined, position: Position | undefined): void {
    this.protocol.published(this, ref, failure, position);
  }

  refOf(bytes: Uint8Array, binary: boolean): unknown {
    return this.protocol.refOf(this, bytes, binary);
  }

  protected noteActivity(nowMs: number): void {
    const nowSeconds = Math.floor((STARTED_AT_MS + nowMs) / 1000);
    if (nowSeconds - this.lastActivity < ACTIVITY_SECONDS) return;
    this.lastActivity = nowSeconds;
    this.edge.registry.put(this);
  }

  checkBuffered(): void {
    if (!this.isClosed && this.rare?.closing === undefined) this.edge.slowReaders.check(this);
  }

  protected lost(): void {
    this.edge.hub.lost(this);
  }

  closeSlow(): void {
    if (this.isClosed) return;
    this.edge.stats.slowCloses++;
    this.close("slow_reader");
  }

  beat(): void {
    if (this.socket === undefined) return;
    if (this.protocol.pingsSilentOnly === true && this.#wasHeard) {
      this.awaitingPong = false;
      return;
    }
    const waiting = this.protocol.beat(this) ? 0 : this.bufferedBytes();
    this.setRare("bufferedAtBeat", waiting > 0 ? waiting : undefined);
  }

  /** Since the last beat. */
  get #wasHeard(): boolean {
    return this.rateAtMs >= 0 && performance.now() - this.rateAtMs < this.edge.options.heartbeatIntervalMs;
  }

  heartbeatMissed(): void {
    // A ping behind a backlog that shrinks is still on its way: the reader is slow, not dead.
    if (this.bufferedBytes() < (this.rare?.bufferedAtBeat ?? 0)) return;
    this.edge.stats.heartbeatTimeouts++;
    this.close("heartbeat_timeout");
  }

  drained(): void {
    this.awaitingPong = false;
    this.edge.slowReaders.drained(this);
  }

  dropped(): void {
    this.edge.stats.dropReports++;
    this.lost();
  }

  expired(): void {
    if (this.isClosed) return;
    if (this.identity === undefined) return this.close("connect_timeout");
    const { authorizer } = this.app;
    const now = Date.now() / 1000;
    if ((endOf(authorizer, this.identity) ?? Infinity) <= now) {
      const { reason, message } = this.identity.atEnd ?? TOKEN_EXPIRED;
      return this.close(reason, { message });
    }
    for (const [channel, grant] of [...(this.grants ?? [])]) {
      if (this.isClosed) return;
      if ((endOf(authorizer, grant) ?? Infinity) > now) continue;
      revoke(this.edge, this, channel.name, "expired", "the right to this channel expired: get a fresh one");
    }
    // Others are yet to end; or the app's clock tolerance was raised meanwhile.
    if (!this.isClosed) this.edge.expiry.move(undefined, this.nextEnd, this);
  }

  /** The socket is gone: leaves everything but what the registry still writes about this connection. */
  closed(code: number): void {
    this.socket = undefined;
    const closing = this.rare?.closing;
    if (closing === undefined && this.waits === 0 && this.rare?.pending !== undefined) {
      // What the client published before is taken first.
      this.setRare("closedWith", code);
      return;
    }
    this.#leave(code, closing);
  }

  protected taken(): void {
    const code = this.rare?.closedWith;
    if (code !== undefined) this.#leave(code, undefined);
    else this.setRare("grants", undefined);
  }

  /** @param closing  undefined: the client closed, or the connection was lost */
  #leave(code: number, closing: Closing | undefined): void {
    this.rare?.overrun?.stop();
    // What the client sent before it closed is published, as soon as what it waits for is over.
    const goesOn = closing === undefined && this.waits > 0 && this.identity !== undefined;
    if (!goesOn || this.edge.frameTurns.full) this.dropPending();
    for (const name of ["overrun", "closedWith", "closing"] as const) this.setRare(name, undefined);
    const { hub, heartbeat, registry, stats, expiry } = this.edge;
    heartbeat.remove(this);
    expiry.move(this.nextEnd, undefined, this);
    hub.remove(this);
    // What it sent before goes by them.
    if (!goesOn) this.setRare("grants", undefined);
    this.edge.slowReaders.forget(this);
    const { protocol } = this;
    const peer = closing === undefined ? protocol.peerClosed(code) : undefined;
    const resumable = closing === undefined ? peer !== "goodbye" : CLOSE_REASONS[closing.reason].resumable;
    const served = this.edge.apps.get(this.app.id) === this.app;
    registry.remove(this, protocol.keepsSessions && resumable && served);
    stats.connections--;
    this.served.counts.connections--;
    this.app.connections--;
    stats.disconnect(protocol.name, closing?.reason ?? (peer === "lost" ? "lost" : "client"));
    this.edge.forget(this);
  }
}
