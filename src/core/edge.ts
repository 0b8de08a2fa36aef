/** The node's core: what connections share, admission, and how it starts, drains and stops. */

import { Admissions } from "./admission.js";
import { AnswerTurns } from "./answer-turns.js";
import { pageBytes } from "./answers.js";
import type { Apps } from "./app.js";
import type { Broker } from "./broker.js";
import { addressText } from "./client-address.js";
import { ClientConnection } from "./client-connection/client-connection.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import type { ControlBus } from "./control.js";
import { controlHandlers, supersede } from "./control-handlers.js";
import { Drain } from "./drain.js";
import { Expiry } from "./expiry.js";
import { Framings } from "./framings.js";
import { FrameTurns } from "./frame-turns.js";
import { Heartbeat } from "./heartbeat.js";
import { Hub } from "./hub.js";
import { Identifiers } from "./identifiers.js";
import type { Log } from "./log.js";
import type { EdgeOptions } from "./options.js";
import type { PresenceStore } from "./presence.js";
import type { Protocol } from "./protocol.js";
import { createRefusalLog, type LogRefusal } from "./refusal-log.js";
import { RefusedConnection } from "./refused-connection.js";
import { Readiness } from "./readiness.js";
import type { ConnectionRegistry } from "./registry.js";
import { SlowReaders } from "./slow-reader.js";
import type { Stats } from "./stats.js";
import { TokenBucket } from "./token-bucket.js";
import type { Topics, UpgradeAcceptance, UpgradeRefusal, UpgradeRequest } from "./transport.js";

export interface EdgeParts {
  /** In the order in which they are offered an upgrade. */
  readonly protocols: readonly Protocol[];
  readonly options: EdgeOptions;
  readonly broker: Broker;
  readonly registry: ConnectionRegistry;
  readonly presence: PresenceStore;
  readonly control: ControlBus;
  readonly apps: Apps;
  readonly topics: Topics;
  readonly stats: Stats;
  readonly log: Log;
}

/** What a node without a limit is taken to take in a second: what the default limit is. */
const UNLIMITED_UPGRADE_RATE = 5000;

/** Clients that are told on a socket that they are not taken. */
const REFUSALS_PER_SECOND = 200;

export class Edge implements EdgeContext {
  readonly options: EdgeOptions;
  readonly hub: Hub;
  readonly broker: Broker;
  readonly registry: ConnectionRegistry;
  readonly presence: PresenceStore;
  readonly control: ControlBus;
  readonly apps: Apps;
  readonly slowReaders: SlowReaders;
  readonly heartbeat: Heartbeat;
  readonly frameTurns: FrameTurns;
  readonly answerTurns = new AnswerTurns();
  readonly expiry: Expiry<Connection>;
  readonly stats: Stats;
  readonly log: Log;
  readonly logRefusal: LogRefusal;
  readonly #admissions: Admissions<Connection>;
  readonly #framings: Framings;
  readonly #reservations: readonly ((event: string) => boolean)[];
  /** On sockets; those beyond are by HTTP. */
  readonly #refusals = new TokenBucket({
    perSecond: REFUSALS_PER_SECOND,
    burst: REFUSALS_PER_SECOND,
    nowMs: performance.now(),
  });
  readonly identifiers: Identifiers;
  #checking = false;
  #drain: Drain | undefined;
  #checkTimer: NodeJS.Timeout | undefined;
  readonly #readiness: Readiness;

  constructor(parts: EdgeParts) {
    this.options = parts.options;
    this.#reservations = parts.protocols.flatMap(({ isReservedEvent }) => isReservedEvent ?? []);
    this.broker = parts.broker;
    this.registry = parts.registry;
    this.presence = parts.presence;
    this.control = parts.control;
    this.apps = parts.apps;
    this.stats = parts.stats;
    this.log = parts.log;
    this.logRefusal = createRefusalLog(parts.log);
    this.identifiers = new Identifiers(parts.options.nodeId);
    this.hub = new Hub({
      identifiers: this.identifiers,
      control: parts.control,
      broker: parts.broker,
      presence: parts.presence,
      stats: parts.stats,
      log: parts.log,
      sweepBytes: Math.floor(parts.options.maxBufferedBytes / 2),
      pageBytes: pageBytes(parts.options),
      answerTurns: this.answerTurns,
      replayBytes: Math.floor(parts.options.maxBufferedBytes / 2),
      behind: (connection, channel, position) => this.slowReaders.behind(connection, channel, position),
      repair: parts.options.repair,
    });
    this.slowReaders = new SlowReaders({
      hub: this.hub,
      stats: parts.stats,
      log: parts.log,
      maxBufferedBytes: parts.options.maxBufferedBytes,
    });
    this.heartbeat = new Heartbeat({
      intervalMs: parts.options.heartbeatIntervalMs,
      timeoutMs: parts.options.heartbeatTimeoutMs,
    });
    this.frameTurns = new FrameTurns(parts.options.rate.messagesPerSecond);
    this.expiry = new Expiry((connection) => connection.expired());
    this.#admissions = new Admissions({
      options: parts.options,
      protocols: parts.protocols,
      apps: parts.apps,
      stats: parts.stats,
      evict: (connection, message) => connection.close("connect_timeout", { message }),
    });
    this.#framings = new Framings(parts.protocols, parts.topics, parts.stats);
    this.#readiness = new Readiness({
      registerTimeoutMs: parts.options.registerTimeoutMs,
      log: parts.log,
      draining: () => this.#admissions.draining,
      registered: () => this.presence.writeAgain?.(),
      backAfterOutage: () => {
        this.hub.tellOutage();
        void this.#check();
      },
    });
  }

  /** Resolves once the bus is subscribed and this node is registered. */
  async start(): Promise<void> {
    await this.registry.start({
      superseded: (id) => supersede(this, id),
      registered: (registered) => this.#readiness.setRegistered(registered),
      connections: () => this.hub.connections.values(),
      connection: (id) => this.hub.connections.get(id),
      died: async (node, stillDead) => {
        void this.hub.counts.nodeDied();
        await this.presence.takeOut?.(node, stillDead);
      },
    });
    await this.broker.start({
      publication: (publication) => this.hub.deliver(publication),
      hasSubscribers: (key) => this.hub.hasSubscribers(key),
      link: (up) => this.#readiness.setLink(up),
    });
    await this.presence.start({
      event: (event) => this.hub.members.event(event),
      missed: () => {
        this.hub.members
          .tellAll()
          .catch((error: unknown) => this.log.warn({ err: error }, "presence snapshots could not be sent"));
      },
    });
    await this.control.start(controlHandlers(this, () => this.notReadyReasons().length === 0));
    this.heartbeat.start();
    this.expiry.start();
    this.#checkTimer = setInterval(() => void this.#check(), this.options.positionCheckIntervalMs);
  }

  /** Finds out what was lost without anyone being told, and repairs what could not be before. */
  async #check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      await this.#readiness.catchUp(() => {
        this.slowReaders.retry();
        return this.hub.checkPositions();
      });
    } catch (error) {
      this.log.warn({ err: error }, "channel positions could not be compared with the bus: retrying");
    } finally {
      this.#checking = false;
    }
  }

  get linkUp(): boolean {
    return this.#readiness.linkUp;
  }

  /** Until `undefined` the node says that it is not ready, for this reason. */
  hold(reason: string | undefined): void {
    this.#readiness.hold(reason);
  }

  /** Why this node should get no new clients now; none: it is ready. */
  notReadyReasons(): string[] {
    return this.#readiness.reasons;
  }

  admit(request: UpgradeRequest): UpgradeAcceptance | UpgradeRefusal {
    const admission = this.#admissions.check(request);
    if ("refused" in admission) {
      const { refused, protocol } = admission;
      this.logRefusal(`a connection was refused: ${refused.message}`, () => ({
        ...{ protocol: protocol?.name, reason: refused.reason, path: request.path },
        ...{ origin: request.origin, address: addressText(request.address) },
      }));
      // A socket stays open until the client closes its side.
      if (protocol?.refusal === undefined || !this.#refusals.take(performance.now())) return refused;
      return {
        handler: new RefusedConnection(protocol.refusal(refused), refused.message),
        subprotocol: undefined,
      };
    }
    const { framing, app, subprotocol, proof } = admission.offer;
    const connection = new ClientConnection({
      edge: this,
      id: this.identifiers.next(),
      app,
      served: this.#framings.get(framing),
      proof,
    });
    this.#admissions.entered(connection, admission);
    return { handler: connection, subprotocol };
  }

  authenticated(connection: Connection): void {
    this.#admissions.authenticated(connection);
  }

  forget(connection: Connection): void {
    this.#admissions.left(connection);
  }

  /** What metrics tell of who may come in. */
  get admissions(): Pick<Admissions<Connection>, "unauthenticated" | "addresses" | "explain"> {
    return this.#admissions;
  }

  isReservedEvent(event: string): boolean {
    // Of each publication with an event.
    for (const isReserved of this.#reservations) if (isReserved(event)) return true;
    return false;
  }

  registrationGate(nowMs: number): Promise<void> | undefined {
    return this.registry.checkLease(nowMs) ? undefined : this.#readiness.gate;
  }

  /** Refuses new clients and sends those there are to other nodes, as drain.ts says. */
  async drain(): Promise<void> {
    this.#admissions.drain();
    this.#drain = new Drain(this.options, {
      connections: () => this.hub.connections.values(),
      acceptRate: () => this.#acceptRateOfOthers(),
      stats: this.stats,
      log: this.log,
    });
    await this.#drain.run();
  }

  /** @throws StarlingError unavailable, outcome_unknown */
  async #acceptRateOfOthers(): Promise<number> {
    const { answers } = await this.control.ask({ kind: "readiness" });
    let rate = 0;
    for (const { node, answer } of answers) {
      if (node === this.options.nodeId || answer.kind !== "readiness" || !answer.ready) continue;
      rate += answer.upgradeRate || UNLIMITED_UPGRADE_RATE;
    }
    return rate;
  }

  async stop(): Promise<void> {
    this.#admissions.drain();
    this.#drain?.stop();
    this.heartbeat.stop();
    this.expiry.stop();
    clearInterval(this.#checkTimer);
    this.#readiness.stop();
    for (const connection of [...this.hub.connections.values()]) connection.close("restart");
    await this.hub.counts.stop();
    await this.presence.stop();
    await Promise.all([this.broker.stop(), this.control.stop()]);
    await this.registry.stop();
  }
}
