/**
 * What core needs of the shared record of who is connected where, and of the
 * sessions that outlive a connection. memory/ and redis/ implement it;
 * test/contract/registry.ts holds both to the promises below.
 */

/** One connection, as the field's JSON in `ws:connections:{nodeId}` and as the API shows it. */
export interface ConnectionRecord {
  readonly connection: string;
  /** null: not identified. */
  readonly userId: string | null;
  readonly channels: readonly string[];
  /** Unix seconds. */
  readonly connectedAt: number;
  /** Unix seconds, at most a minute old. */
  readonly lastActivity: number;
}

/** What a session gives back to the connection that resumes it. */
export interface SessionRecord {
  readonly session: string;
  readonly app: string;
  readonly userId: string | null;
  readonly channels: readonly string[];
}

/** A connection whose state is shared. Read when a batch is written, not when it changed. */
export interface RegisteredConnection {
  /** Id of the connection, unique over all nodes and time. */
  readonly id: string;
  /** Proof that a client may resume this session. */
  readonly resumeSecret: string;
  /** Of the session that it goes on with. */
  readonly sessionId: string;
  /** Unix seconds. */
  readonly connectedAt: number;
  /** Unix seconds, at most a minute old. */
  readonly lastActivity: number;
  session(): SessionRecord;
  /** The registry's own, kept here as a node holds very many. All three begin as UNREGISTERED. */
  registryState: RegistryState;
  /** Id of the session that the shared record may hold under this connection's ownership. */
  storedSession: string | undefined;
  /** How often that session was taken. */
  storedGeneration: number;
}

/** absent: the registry does not have it. written: the shared record may hold it. */
export type RegistryState = "absent" | "put" | "written";

export const UNREGISTERED: Readonly<
  Pick<RegisteredConnection, "registryState" | "storedSession" | "storedGeneration">
> = { registryState: "absent", storedSession: undefined, storedGeneration: 0 };

export interface Totals {
  readonly nodes: number;
  readonly connections: number;
}

export interface RegistryHandlers {
  /** The session of this connection was resumed by another: close its socket. */
  superseded(connectionId: string): void;
  /** This node's registration stands (true), or lapsed or cannot be told (false). */
  registered(registered: boolean): void;
  /** Every connection that must be in the registry now. One that goes is removed from it in the same turn. */
  connections(): Iterable<RegisteredConnection>;
  /**
   * Another node died: called on one node, again if it rejects. `stillDead` asks anew, as a node that only
   * stalled may be back by then; it then registers again. Never by memory/.
   */
  died?(node: string, stillDead: () => Promise<boolean>): Promise<void>;
  /** The connection with this id, if connections() has it. */
  connection(id: string): RegisteredConnection | undefined;
}

export type TakeResult =
  { readonly taken: SessionRecord } | { readonly taken: undefined; readonly reason: TakeRefusal };

/**
 * unknown_session: never was, ended, or its time-to-live did. wrong_secret: used before, or guessed.
 * another_user: the session is of another user, or of another app, than the connection that asks.
 */
export type TakeRefusal = "unknown_session" | "wrong_secret" | "another_user";

/** Whether a connection may go on with what a session holds: an anonymous session is whoever's has its secret. */
export function maySessionPass(kept: SessionOwner, to: SessionOwner): boolean {
  return kept.app === to.app && (kept.userId === null || kept.userId === to.userId);
}

type SessionOwner = Pick<SessionRecord, "app" | "userId">;

/**
 * Writes are queued and leave in batches; only what waits for an answer is a
 * promise. A session has one owner at a time: save, take and release compare
 * the owner first, so a node that slept cannot take back what another took.
 */
export interface ConnectionRegistry {
  /** Registers this node; resolves once the registration stands. */
  start(handlers: RegistryHandlers): Promise<void>;
  /** New, or its record changed. */
  put(connection: RegisteredConnection): void;
  /**
   * Resolves once what was put and removed before this call is in the shared record; undefined: it is already.
   * @throws StarlingError outcome_unknown where that did not succeed in a command's time: it is still tried
   */
  recorded(): Promise<void> | undefined;
  /** `resumable`: keep the session for its time-to-live; else it ends now. */
  remove(connection: RegisteredConnection, resumable: boolean): void;
  /**
   * Gives the session to `by` once: later calls with the same secret fail. The session's user and app are
   * compared with those of `by` in the same step: a refusal leaves the session as it was, with the same secret.
   * The connection that held it, on whichever node, is told superseded.
   * @throws StarlingError unavailable, outcome_unknown
   */
  take(session: string, secret: string, by: RegisteredConnection): Promise<TakeResult>;
  /**
   * Whether this node's registration certainly stands: a comparison, no I/O. false
   * after the process was stopped for longer than its lease; it also starts to
   * register again, and handlers.registered(true) tells when that is done.
   */
  checkLease(nowMs: number): boolean;
  /** Ids of the nodes that are registered now. */
  nodes(): Promise<readonly string[]>;
  totals(): Promise<Totals>;
  /** Writes what is queued, ends the registration, closes the link. */
  stop(): Promise<void>;
}
