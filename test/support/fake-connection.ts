/** The two sides of a registry as core shows them, for tests of registries alone. */

import {
  UNREGISTERED,
  type ConnectionRegistry,
  type RegisteredConnection,
  type RegistryHandlers,
  type RegistryState,
  type SessionRecord,
} from "../../src/core/registry.js";

/** A connection as core has it, with its state in the open. */
export class FakeConnection implements RegisteredConnection {
  sessionId: string;
  readonly resumeSecret: string;
  userId: string | null = null;
  channels: string[] = [];
  readonly connectedAt = 1700000000;
  readonly lastActivity = 1700000060;
  registryState: RegistryState = UNREGISTERED.registryState;
  storedSession = UNREGISTERED.storedSession;
  storedGeneration = UNREGISTERED.storedGeneration;

  constructor(
    readonly id: string,
    channels: string[] = [],
  ) {
    this.sessionId = `s-${id}`;
    this.resumeSecret = `secret of ${id}`;
    this.channels = channels;
  }

  session(): SessionRecord {
    const { sessionId, userId, channels } = this;
    return { session: sessionId, app: "main", userId, channels: [...channels] };
  }

  /** Goes on with a session as core does: in the turn in which the take is answered. */
  async resume(registry: ConnectionRegistry, session: string, secret: string): Promise<readonly string[]> {
    const result = await registry.take(session, secret, this);
    if (result.taken === undefined) throw new Error(result.reason);
    this.sessionId = session;
    this.channels = [...result.taken.channels];
    registry.put(this);
    return result.taken.channels;
  }
}

/** Handlers that remember; `connections` is what core would say is live. */
export class FakeCore implements RegistryHandlers {
  readonly live = new Map<string, RegisteredConnection>();
  readonly supersededIds: string[] = [];
  readonly registrations: boolean[] = [];

  superseded(connectionId: string): void {
    this.supersededIds.push(connectionId);
    this.live.delete(connectionId);
  }

  registered(registered: boolean): void {
    this.registrations.push(registered);
  }

  connections(): Iterable<RegisteredConnection> {
    return this.live.values();
  }

  connection(id: string): RegisteredConnection | undefined {
    return this.live.get(id);
  }
}
