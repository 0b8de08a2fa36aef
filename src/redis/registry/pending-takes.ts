/** Sessions that connections took, each until it is known whether its connection goes on with it. */

import type { RegisteredConnection, SessionRecord } from "../../core/registry.js";
import { sessionJson, type Ownership } from "./sessions.js";
import { ownershipOf, type Ending } from "./state-batch.js";

interface PendingTake {
  readonly record: SessionRecord;
  /** Hash of the secret that took it: the client has no other until it hears that it resumed. */
  readonly formerSecretHash: string;
  /** The connection's own session, which ends if it goes on with the taken one. */
  readonly own: Ownership | undefined;
  /** Whether core has had the turn of the loop in which it would go on with it. */
  settled: boolean;
}

export interface PendingTakesOptions {
  /** Has a session without a connection written: kept or ended. */
  end(ending: Ending): void;
  /** Core has had its turn to go on with the session that this connection took. */
  settled(connection: RegisteredConnection): void;
}

export class PendingTakes {
  readonly #options: PendingTakesOptions;
  readonly #pending = new Map<RegisteredConnection, PendingTake>();

  constructor(options: PendingTakesOptions) {
    this.#options = options;
  }

  /** Redis gave the session to this connection. */
  record(
    connection: RegisteredConnection,
    generation: number,
    record: SessionRecord,
    formerSecretHash: string,
  ): void {
    const stored = connection.storedSession;
    const own =
      stored === undefined || stored === record.session ? undefined : ownershipOf(connection, stored);
    const take: PendingTake = { record, formerSecretHash, own, settled: false };
    connection.storedSession = record.session;
    connection.storedGeneration = generation;
    this.#pending.set(connection, take);
    // Core goes on with it in the turn in which the take is answered, or not at all.
    setImmediate(() => {
      take.settled = true;
      this.#options.settled(connection);
    });
  }

  /**
   * Gives a taken session back if the connection left it.
   * @param current  what the connection has now
   * @returns whether it is known which session the connection goes on with
   */
  settle(connection: RegisteredConnection, current: SessionRecord): boolean {
    const take = this.#pending.get(connection);
    if (take === undefined) return true;
    if (current.session === take.record.session) {
      this.#endOwn(take);
    } else {
      if (!take.settled) return false;
      this.giveBack(ownershipOf(connection, take.record.session), take.record, take.formerSecretHash);
      connection.storedSession = take.own?.session;
      connection.storedGeneration = take.own?.generation ?? 0;
    }
    this.#pending.delete(connection);
    return true;
  }

  /** The connection closed before it could go on with what it took, as settle() has just said. */
  abandon(connection: RegisteredConnection, resumable: boolean): void {
    const take = this.#pending.get(connection)!;
    const { record, formerSecretHash } = take;
    this.giveBack(ownershipOf(connection, record.session), record, formerSecretHash, resumable);
    this.#endOwn(take);
  }

  /** Leaves a taken session to whoever shows again the secret that took it. */
  giveBack(ownership: Ownership, record: SessionRecord, formerSecretHash: string, resumable = true): void {
    const json = resumable ? sessionJson(record) : undefined;
    this.#options.end({ ...ownership, secretHash: formerSecretHash, json });
  }

  delete(connection: RegisteredConnection): void {
    this.#pending.delete(connection);
  }

  #endOwn({ own }: PendingTake): void {
    if (own !== undefined) this.#options.end({ ...own, secretHash: "-", json: undefined });
  }
}
