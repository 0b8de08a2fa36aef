/** Core with sockets, a bus and a registry that a test moves by hand. */

import { DEFAULT_RULES, type RulesOf } from "../../../src/core/channel-rules.js";
import type { PresenceStore } from "../../../src/core/presence.js";
import { RIGHTS_BY_IDENTITY, type Authorizer, type Identity } from "../../../src/core/authorizer.js";
import type {
  Broker,
  BrokerHandlers,
  BusPublication,
  HistoryPage,
  HistoryQuery,
  PublishRequest,
} from "../../../src/core/broker.js";
import { addressKey } from "../../../src/core/client-address.js";
import type { ClientConnection } from "../../../src/core/client-connection/client-connection.js";
import type { ControlBus, ControlHandlers } from "../../../src/core/control.js";
import { Edge } from "../../../src/core/edge.js";
import { silentLog, type Log } from "../../../src/core/log.js";
import type { EdgeOptions } from "../../../src/core/options.js";
import type {
  ConnectionRegistry,
  RegisteredConnection,
  RegistryHandlers,
  SessionRecord,
  TakeResult,
} from "../../../src/core/registry.js";
import { Stats } from "../../../src/core/stats.js";
import {
  SEND_RESULTS,
  type SendResult,
  type Socket,
  type SocketHandler,
  type Topics,
  type UpgradeRequest,
} from "../../../src/core/transport.js";
import { CODECS } from "../../../src/protocols/starling/codecs.js";
import { App, Apps, DEFAULT_APP } from "../../../src/core/app.js";
import type { Protocol } from "../../../src/core/protocol.js";
import { starlingProtocol } from "../../../src/protocols/starling/protocol.js";
import { StarlingError } from "../../../src/core/errors.js";
import { Encoding } from "../../../src/encoding/payload.js";
import { type Position } from "../../../src/core/publication.js";

export interface ReceivedFrame {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Topics with real membership, as uWebSockets.js keeps them. */
export class FakeTopics implements Topics {
  readonly members = new Map<string, Set<FakeSocket>>();
  /** Native calls made: what fan-out costs. */
  publishes = 0;

  publish(topic: string, frame: Uint8Array, binary: boolean, except?: FakeSocket): void {
    this.publishes++;
    for (const socket of this.members.get(topic) ?? []) {
      if (socket !== except) socket.receive(frame, binary);
    }
  }
}

export class FakeSocket implements Socket {
  readonly handler: SocketHandler;
  readonly received: ReceivedFrame[] = [];
  readonly topics = new Set<string>();
  open = true;
  pings = 0;
  buffered = 0;
  /** What send answers. */
  sendResult: SendResult = "sent";
  closedWith: { code: number; reason: string } | undefined;
  readonly #topics: FakeTopics;

  constructor(handler: SocketHandler, topics: FakeTopics) {
    this.handler = handler;
    this.#topics = topics;
  }

  receive(frame: Uint8Array, _binary: boolean): void {
    this.received.push(JSON.parse(Buffer.from(frame).toString()) as ReceivedFrame);
  }

  /** As uWebSockets.js does. */
  #check(): void {
    if (!this.open) throw new Error("Invalid access of closed uWS.WebSocket/SSLWebSocket.");
  }

  send(frame: Uint8Array, binary: boolean): number {
    this.#check();
    this.receive(frame, binary);
    return SEND_RESULTS.indexOf(this.sendResult);
  }

  /** Nothing at all from a socket that is subscribed to nothing: so does uWebSockets.js. */
  publish(topic: string, frame: Uint8Array, binary: boolean): void {
    this.#check();
    if (this.topics.size > 0) this.#topics.publish(topic, frame, binary, this);
  }

  subscribe(topic: string): void {
    this.#check();
    this.topics.add(topic);
    const members = this.#topics.members.get(topic) ?? new Set();
    this.#topics.members.set(topic, members.add(this));
  }

  unsubscribe(topic: string): void {
    this.#check();
    this.#quit(topic);
  }

  #quit(topic: string): void {
    this.topics.delete(topic);
    this.#topics.members.get(topic)?.delete(this);
  }

  ping(): number {
    this.#check();
    this.pings++;
    return SEND_RESULTS.indexOf(this.buffered > 0 ? "buffered" : "sent");
  }

  getBufferedAmount(): number {
    this.#check();
    return this.buffered;
  }

  cork(send: () => void): void {
    this.#check();
    send();
  }

  end(code: number, reasonBytes: Uint8Array): void {
    const reason = Buffer.from(reasonBytes).toString();
    this.#check();
    this.closedWith = { code, reason };
    this.leave(code);
  }

  /** The client, or its network, ends it. */
  leave(code: number): void {
    if (!this.open) return;
    this.open = false;
    for (const topic of [...this.topics]) this.#quit(topic);
    this.handler.closed(code);
  }

  /** A frame from the client. */
  type(command: object | string): void {
    const text = typeof command === "string" ? command : JSON.stringify(command);
    this.handler.message(Buffer.from(text), false);
  }

  of(type: string): ReceivedFrame[] {
    return this.received.filter((frame) => frame.type === type);
  }

  get last(): ReceivedFrame | undefined {
    return this.received.at(-1);
  }
}

/** Holds what was published until the test delivers it. */
export class FakeBroker implements Broker {
  readonly published: PublishRequest[] = [];
  readonly subscribed: string[] = [];
  readonly unsubscribed: string[] = [];
  /** What subscribe gives; undefined: nothing to wait for. */
  subscribing: (() => Promise<void> | undefined) | undefined;
  handlers: BrokerHandlers | undefined;

  start(handlers: BrokerHandlers): Promise<void> {
    this.handlers = handlers;
    handlers.link(true);
    return Promise.resolve();
  }

  publish(request: PublishRequest): void {
    this.published.push(request);
  }

  subscribe(key: string): Promise<void> | undefined {
    this.subscribed.push(key);
    return this.subscribing?.();
  }

  unsubscribe(key: string): void {
    this.unsubscribed.push(key);
  }

  history(_key: string, _query: HistoryQuery): Promise<HistoryPage> {
    return Promise.resolve({ publications: [], top: { offset: 0, epoch: "e" } });
  }

  positions(channels: readonly unknown[]): Promise<readonly Position[]> {
    return Promise.resolve(channels.map(() => ({ offset: 0, epoch: "e" })));
  }

  deliver(publication: Partial<BusPublication> & { key: string; text?: string }): void {
    this.handlers!.publication({
      payload: { bytes: Buffer.from(JSON.stringify(publication.text ?? "hi")), encoding: Encoding.json },
      from: undefined,
      event: undefined,
      tags: undefined,
      exclude: undefined,
      position: undefined,
      publishedAtMs: Date.now(),
      ...publication,
    });
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}

export class FakeRegistry implements ConnectionRegistry {
  /** Who would be in the shared record now. */
  readonly held = new Set<RegisteredConnection>();
  readonly removed: { id: string; resumable: boolean }[] = [];
  handlers: RegistryHandlers | undefined;
  leaseStands = true;
  taking: (session: string, secret: string) => Promise<TakeResult> = () =>
    Promise.resolve({ taken: undefined, reason: "unknown_session" });

  start(handlers: RegistryHandlers): Promise<void> {
    this.handlers = handlers;
    handlers.registered(true);
    return Promise.resolve();
  }

  put(connection: RegisteredConnection): void {
    this.held.add(connection);
  }

  recording: Promise<void> | undefined;

  recorded(): Promise<void> | undefined {
    return this.recording;
  }

  remove(connection: RegisteredConnection, resumable: boolean): void {
    this.held.delete(connection);
    this.removed.push({ id: connection.id, resumable });
  }

  take(session: string, secret: string, by: RegisteredConnection): Promise<TakeResult> {
    this.put(by);
    return this.taking(session, secret);
  }

  checkLease(): boolean {
    return this.leaseStands;
  }

  nodes(): Promise<readonly string[]> {
    return Promise.resolve(["test"]);
  }

  totals(): Promise<{ nodes: number; connections: number }> {
    return Promise.resolve({ nodes: 1, connections: this.held.size });
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}

export class FakeControl implements ControlBus {
  handlers: ControlHandlers | undefined;

  start(handlers: ControlHandlers): Promise<void> {
    this.handlers = handlers;
    return Promise.resolve();
  }

  command(): Promise<void> {
    return Promise.resolve();
  }

  ask(): Promise<{ answers: []; missing: [] }> {
    return Promise.resolve({ answers: [], missing: [] });
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}

export function identity(fields: Partial<Identity> = {}): Identity {
  return { userId: "ann", expiresAt: undefined, maySubscribe: () => true, mayPublish: () => true, ...fields };
}

export const ANONYMOUS = identity({ userId: null });

/** Everyone may do everything unless told otherwise. */
export function authorizer(fields: Partial<Authorizer> = {}): Authorizer {
  return {
    required: false,
    anonymous: ANONYMOUS,
    clockToleranceSeconds: 0,
    authenticate: () => Promise.resolve(identity()),
    permit: (known) => known,
    ...RIGHTS_BY_IDENTITY,
    ...fields,
  };
}

export const OPTIONS: EdgeOptions = {
  nodeId: "test",
  heartbeatIntervalMs: 30_000,
  heartbeatTimeoutMs: 10_000,
  maxConnections: 100,
  maxConnectionsPerIp: 0,
  upgradeRate: 0,
  upgradeBurst: 1,
  maxUnauthenticated: 0,
  sharePerIpPercent: 100,
  drainNoticeMs: 0,
  drainMs: 0,
  sessionTtlMs: 120_000,
  maxFrameBytes: 1000,
  maxChannelsPerConnection: 3,
  maxChannelNameBytes: 8192,
  rate: { messagesPerSecond: 1000, messagesBurst: 1000, bytesPerSecond: 1_000_000, bytesBurst: 1_000_000 },
  maxPendingFrames: 4,
  maxPendingBytes: 2000,
  maxBufferedBytes: 10_000,
  connectTimeoutMs: 15_000,
  origins: [],
  originRequired: false,
  positionCheckIntervalMs: 3000,
  repair: true,
  registerTimeoutMs: 1000,
};

/** Nobody is ever there. */
export const noPresence: PresenceStore = {
  start: () => Promise.resolve(),
  join: () => undefined,
  leave: () => undefined,
  enter: () => Promise.resolve(true),
  connectionsHere: () => [],
  members: () => Promise.resolve({ members: [], connections: 0, users: 0 }),
  counts: () => Promise.resolve({ connections: 0, users: 0 }),
  stop: () => Promise.resolve(),
};

export const UPGRADE: UpgradeRequest = {
  method: "GET",
  path: "/",
  query: "",
  origin: undefined,
  address: addressKey([10, 0, 0, 1]),
  subprotocols: [],
  allSubprotocols: [],
  upgrade: "websocket",
  version: "13",
  key: "dGhlIHNhbXBsZSBub25jZQ==",
};

export interface TestEdge {
  readonly edge: Edge;
  readonly broker: FakeBroker;
  readonly registry: FakeRegistry;
  readonly control: FakeControl;
  readonly topics: FakeTopics;
  readonly stats: Stats;
  connect(request?: Partial<UpgradeRequest>): FakeSocket & { readonly handler: ClientConnection };
  stop(): Promise<void>;
}

export async function startEdge(
  parts: {
    options?: Partial<EdgeOptions>;
    authorizer?: Authorizer;
    rulesOf?: RulesOf;
    protocols?: readonly Protocol[];
    presence?: PresenceStore;
    apps?: readonly App[];
    log?: Log;
  } = {},
): Promise<TestEdge> {
  const broker = new FakeBroker();
  const registry = new FakeRegistry();
  const control = new FakeControl();
  const topics = new FakeTopics();
  const stats = new Stats();
  const edge = new Edge({
    options: { ...OPTIONS, ...parts.options },
    broker,
    registry,
    presence: parts.presence ?? noPresence,
    control,
    apps: new Apps([
      new App({
        id: DEFAULT_APP,
        rulesOf: parts.rulesOf ?? (() => DEFAULT_RULES),
        authorizer: parts.authorizer ?? authorizer(),
      }),
      ...(parts.apps ?? []),
    ]),
    topics,
    protocols: parts.protocols ?? [starlingProtocol],
    stats,
    log: parts.log ?? silentLog,
  });
  await edge.start();
  return {
    edge,
    broker,
    registry,
    control,
    topics,
    stats,
    connect(request = {}) {
      const decision = edge.admit({ ...UPGRADE, ...request });
      if (!("handler" in decision)) throw new Error(`refused: ${decision.status} ${decision.message}`);
      const socket = new FakeSocket(decision.handler, topics);
      decision.handler.opened(socket);
      return socket as FakeSocket & { readonly handler: ClientConnection };
    },
    stop: () => edge.stop(),
  };
}

/** A promise that the test settles. */
export function deferred<T = void>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

/** Lets everything that is due in this turn, and what follows from it, happen. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const taken = (fields: Partial<SessionRecord> = {}): TakeResult => ({
  taken: { session: "test.old", app: "main", userId: null, channels: [], ...fields },
});

export const AWAY = new StarlingError("unavailable", "the message bus is unreachable: nothing was sent");

export const JSON_SUBPROTOCOL = CODECS[0]!.subprotocol;
