import type { AnswerTurns } from "./answer-turns.js";
import type { Apps } from "./app.js";
import type { Broker } from "./broker.js";
import type { Connection } from "./connection.js";
import type { Expiry } from "./expiry.js";
import type { FrameTurns } from "./frame-turns.js";
import type { Heartbeat } from "./heartbeat.js";
import type { Hub } from "./hub.js";
import type { Identifiers } from "./identifiers.js";
import type { Log } from "./log.js";
import type { EdgeOptions } from "./options.js";
import type { PresenceStore } from "./presence.js";
import type { LogRefusal } from "./refusal-log.js";
import type { ConnectionRegistry } from "./registry.js";
import type { SlowReaders } from "./slow-reader.js";
import type { Stats } from "./stats.js";

/** What every connection of a node shares. */
export interface EdgeContext {
  readonly options: EdgeOptions;
  readonly hub: Hub;
  readonly broker: Broker;
  readonly registry: ConnectionRegistry;
  readonly presence: PresenceStore;
  readonly apps: Apps;
  readonly slowReaders: SlowReaders;
  readonly heartbeat: Heartbeat;
  readonly frameTurns: FrameTurns;
  readonly answerTurns: AnswerTurns;
  /** Tokens that run out, and connections that must have authenticated by then. */
  readonly expiry: Expiry<Connection>;
  readonly stats: Stats;
  readonly log: Log;
  readonly logRefusal: LogRefusal;
  readonly identifiers: Identifiers;
  /** Whether only the server may name an event so, as one of the protocols has it. */
  isReservedEvent(event: string): boolean;
  /** A frame must wait for this: the node's registration lapsed while it slept and is being renewed. */
  registrationGate(nowMs: number): Promise<void> | undefined;
  /** A connection got its first identity. */
  authenticated(connection: Connection): void;
  /** A connection's socket closed. */
  forget(connection: Connection): void;
}
