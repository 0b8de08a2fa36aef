/**
 * The node's core: admits connections, wires them to the hub, the broker and
 * the registry, and does what other nodes and the server API ask.
 */

import { Admissions } from "./admission.js";
import { AnswerTurns } from "./answer-turns.js";
import { pageBytes } from "./answers.js";
import type { Apps } from "./app.js";
import type { Broker } from "./broker.js";
import { setIdentity } from "./actions/authenticate.js";
import { revoke } from "./actions/unsubscribe.js";
import { ClientConnection } from "./client-connection/client-connection.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import type { ControlAnswer, ControlBus, ControlCommand, ControlQuestion, Target } from "./control.js";
import { Drain } from "./drain.js";
import { Expiry } from "./expiry.js";
import { FrameTurns } from "./frame-turns.js";
import { Heartbeat } from "./heartbeat.js";
import { Hub } from "./hub.js";
import { Identifiers } from "./identifiers.js";
import { Framings } from "./framings.js";
import type { Log } from "./log.js";
import type { EdgeOptions } from "./options.js";
import type { Protocol } from "./protocol.js";
import type { PresenceStore } from "./presence.js";
import type { ConnectionRegistry } from "./registry.js";
import { SlowReaders } from "./slow-reader.js";
import type { Stats } from "./stats.js";
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
  readonly #admissions: Admissions<Connection>;
  readonly #framings: Framings;
  readonly identifiers: Identifiers;
  /** Why the node as a whole is not open yet. */
  #held: string | undefined;
  #linkUp = false;
  #stopping = false;
  #linkDownAtMs = 0;
  #registered = false;
  #outages = 0;
  /** After an outage of the bus the node is not ready before every channel has what it missed. */
  #catchingUp = false;
  #checking = false;
  #drain: Drain | undefined;
  #checkTimer: NodeJS.Timeout | undefined;
  #gate: Promise<void> | undefined;
  #openGate: (() => void) | undefined;

  constructor(parts: EdgeParts) {
    this.options = parts.options;
    this.broker = parts.broker;
    this.registry = parts.registry;
    this.presence = parts.presence;
    this.control = parts.control;
    this.apps = parts.apps;
    this.stats = parts.stats;
    this.log = parts.log;
    this.hub = new Hub({
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
    this.identifiers = new Identifiers(parts.options.nodeId);
  }

  /** Resolves once the bus is subscribed and this node is registered. */
  async start(): Promise<void> {
    await this.registry.start({
      superseded: (id) => this.#supersede(id),
      registered: (registered) => this.#setRegistered(registered),
      connections: () => this.hub.connections.values(),
      connection: (id) => this.hub.connections.get(id),
      died: async (node, stillDead) => this.presence.takeOut?.(node, stillDead),
    });
    await this.broker.start({
      publication: (publication) => this.hub.deliver(publication),
      hasSubscribers: (key) => this.hub.hasSubscribers(key),
      link: (up) => this.#setLink(up),
    });
    await this.presence.start({
      event: (event) => this.hub.presenceEvent(event),
      missed: () => {
        this.hub
          .tellPresence()
          .catch((error: unknown) => this.log.warn({ err: error }, "presence snapshots could not be sent"));
      },
    });
    await this.control.start({
      command: (command) => this.#execute(command),
      answer: (question) => this.#answer(question),
    });
    this.heartbeat.start();
    this.expiry.start();
    this.#checkTimer = setInterval(() => void this.#check(), this.options.positionCheckIntervalMs);
  }

  /** Finds out what was lost without anyone being told, and repairs what could not be before. */
  async #check(): Promise<void> {
    if (!this.#linkUp || this.#checking) return;
    this.#checking = true;
    const outage = this.#outages;
    try {
      this.slowReaders.retry();
      await this.hub.checkPositions();
      if (outage === this.#outages) this.#catchingUp = false;
    } catch (error) {
      this.log.warn({ err: error }, "channel positions could not be compared with the bus: retrying");
    } finally {
      this.#checking = false;
    }
  }

  get linkUp(): boolean {
    return this.#linkUp;
  }

  /** Until `undefined` the node says that it is not ready, for this reason. */
  hold(reason: string | undefined): void {
    this.#held = reason;
  }

  /** Why this node should get no new clients now; none: it is ready. */
  notReadyReasons(): string[] {
    const reasons: string[] = [];
    if (this.#admissions.draining) reasons.push("draining");
    // What follows from it says nothing new.
    if (this.#held !== undefined) return [...reasons, this.#held];
    if (!this.#linkUp) reasons.push("the message bus is unreachable");
    if (!this.#registered) reasons.push("the node is not registered");
    if (this.#catchingUp)
      reasons.push("channels are catching up with what was published while the message bus was unreachable");
    return reasons;
  }

  admit(request: UpgradeRequest): UpgradeAcceptance | UpgradeRefusal {
    const admission = this.#admissions.check(request);
    if ("status" in admission) return admission;
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
  get admissions(): { readonly unauthenticated: number; readonly addresses: number } {
    return this.#admissions;
  }

  registrationGate(nowMs: number): Promise<void> | undefined {
    return this.registry.checkLease(nowMs) ? undefined : this.#gate;
  }

  #setRegistered(registered: boolean): void {
    if (registered === this.#registered) return;
    this.#registered = registered;
    if (registered) {
      this.log.info({}, "registered");
      this.presence.writeAgain?.();
      this.#openGate?.();
    } else {
      // A node that slept may learn of its lapse and of its lost link in either order. With a
      // link that has been away for long nothing can be registered: commands get their own errors.
      if (this.#linkUp || performance.now() - this.#linkDownAtMs < this.options.registerTimeoutMs)
        this.#closeGate();
    }
  }

  /** Holds frames back until the registration stands, but no longer than registerTimeoutMs. */
  #closeGate(): void {
    if (this.#gate !== undefined) return;
    this.#gate = new Promise((resolve) => {
      const open = (): void => {
        clearTimeout(timer);
        this.#gate = undefined;
        this.#openGate = undefined;
        resolve();
      };
      const timer = setTimeout(open, this.options.registerTimeoutMs);
      this.#openGate = open;
    });
  }

  #setLink(up: boolean): void {
    if (up === this.#linkUp) return;
    this.#linkUp = up;
    if (up) {
      this.log.info({}, "the message bus is reachable");
      if (this.#catchingUp) {
        this.hub.tellOutage();
        void this.#check();
      }
      if (!this.#registered) this.#closeGate();
    } else {
      this.#linkDownAtMs = performance.now();
      this.#outages++;
      this.#catchingUp = true;
      // It ends with the node, which is no news.
      if (!this.#stopping)
        this.log.warn({}, "the message bus is unreachable: publishing fails until it is reachable again");
    }
  }

  #supersede(connectionId: string): void {
    const connection = this.hub.connections.get(connectionId);
    if (connection === undefined) return;
    this.stats.superseded++;
    connection.close("superseded");
  }

  #targets(app: string, target: Target): readonly Connection[] {
    if (target.user !== undefined) return this.hub.users.connections(app, target.user);
    const connection = this.hub.connections.get(target.connection);
    return connection?.app.id === app ? [connection] : [];
  }

  #execute(command: ControlCommand): void {
    if (command.kind === "supersede") {
      this.#supersede(command.connection);
      return;
    }
    for (const connection of this.#targets(command.app, command.target)) {
      switch (command.kind) {
        case "disconnect":
          connection.close("disconnected", { message: command.reason });
          break;
        case "unsubscribe":
          revoke(this, connection, command.channel, "the application ended this subscription");
          break;
        case "permit":
          if (connection.identity === undefined) break;
          setIdentity(this, connection, connection.app.authorizer.permit(connection.identity, command));
          this.registry.put(connection);
          break;
      }
    }
  }

  #answer(question: ControlQuestion): ControlAnswer | Promise<ControlAnswer> {
    if (question.kind === "recorded") return this.#recorded();
    if (question.kind === "readiness") {
      const ready = this.notReadyReasons().length === 0;
      return { kind: "readiness", ready, upgradeRate: this.options.upgradeRate };
    }
    if (question.kind === "channels") {
      return {
        kind: "channels",
        counts: this.hub.channelCounts(question.app, question.prefix, question.limit),
      };
    }
    const connections = this.hub.users.connections(question.app, question.user);
    return { kind: "connections", connections: connections.map((connection) => connection.record()) };
  }

  /** @throws StarlingError outcome_unknown */
  async #recorded(): Promise<ControlAnswer> {
    await this.registry.recorded();
    return { kind: "recorded" };
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
    this.#openGate?.();
    for (const connection of [...this.hub.connections.values()]) connection.close("restart");
    this.#stopping = true;
    await this.presence.stop();
    await Promise.all([this.broker.stop(), this.control.stop()]);
    await this.registry.stop();
  }
}
