/**
 * Judges what the fleet's registry holds when a run is over, and how sessions were given. It imports nothing, as
 * checker.ts. Times are milliseconds since 1970 of one machine's clock.
 */

/** A resume that was answered `resumed: true`. */
export interface ClaimRecord {
  readonly kind: "claim";
  readonly client: string;
  readonly session: string;
  /** What was shown: it works once. */
  readonly token: string;
  readonly atMs: number;
}

/** `connections:{node}` when everything had come to rest. */
export interface HashRecord {
  readonly kind: "hash";
  readonly node: string;
  readonly connections: readonly string[];
}

/** Nodes that ran then. */
export interface LivingRecord {
  readonly kind: "living";
  readonly nodes: readonly string[];
}

/** As in checker.ts, of which only this is looked at. */
interface End {
  readonly kind: "end";
  readonly client: string;
  readonly connected: boolean;
  readonly connection?: string | undefined;
}

interface Fault {
  readonly kind: "fault";
  readonly startMs: number;
  readonly endMs: number;
  readonly losesData: boolean;
}

export type RegistryRecord = ClaimRecord | HashRecord | LivingRecord;
type Judged = RegistryRecord | End | Fault | { readonly kind: "other" };

export const REGISTRY_FAILURES = {
  ghosts: "entries of connections that are gone",
  absent: "connections that their node's hash lacks",
  leftovers: "hashes of nodes that are dead",
  doubleClaims: "sessions that were given twice for one token",
} as const;

export type RegistryFailure = keyof typeof REGISTRY_FAILURES;

export interface RegistryVerdict {
  readonly ok: boolean;
  readonly failures: Readonly<Record<RegistryFailure, number>>;
  readonly claims: number;
  readonly connections: number;
  readonly details: readonly string[];
}

const CLOCK_SLACK_MS = 20;

export class RegistryChecker {
  readonly #claims: ClaimRecord[] = [];
  readonly #hashes: HashRecord[] = [];
  readonly #connected = new Set<string>();
  readonly #losses: Fault[] = [];
  #living: readonly string[] | undefined;

  add(evidence: Judged): void {
    switch (evidence.kind) {
      case "claim":
        this.#claims.push(evidence);
        return;
      case "hash":
        this.#hashes.push(evidence);
        return;
      case "living":
        this.#living = evidence.nodes;
        return;
      case "end":
        if (evidence.connected && evidence.connection !== undefined) this.#connected.add(evidence.connection);
        return;
      case "fault":
        if (evidence.losesData) this.#losses.push(evidence);
        return;
      case "other":
        return;
    }
  }

  verdict(): RegistryVerdict {
    const failures: Record<RegistryFailure, number> = { ghosts: 0, absent: 0, leftovers: 0, doubleClaims: 0 };
    const details: string[] = [];
    const fail = (failure: RegistryFailure, detail: string): void => {
      if (++failures[failure] <= 8) details.push(`${failure}: ${detail}`);
    };
    const held = new Map<string, string>();
    for (const { node, connections } of this.#hashes) {
      if (this.#living?.includes(node) === false) {
        fail("leftovers", `${node} is dead and has a hash of ${connections.length}`);
      }
      for (const connection of connections) {
        const wrong = !this.#connected.has(connection) || nodeOf(connection) !== node;
        if (wrong || held.has(connection)) fail("ghosts", `${node} has ${connection}, which is not there`);
        held.set(connection, node);
      }
    }
    for (const connection of this.#connected) {
      if (!held.has(connection)) fail("absent", `${connection} is connected and in no hash`);
    }
    this.#judgeClaims(fail);
    // A run of which nothing was recorded proves nothing.
    const judged = this.#living !== undefined && this.#connected.size > 0;
    if (!judged) details.unshift("nothing to judge: no living node, or no connected client");
    return {
      ok: judged && Object.values(failures).every((count) => count === 0),
      failures,
      claims: this.#claims.length,
      connections: this.#connected.size,
      details,
    };
  }

  /** A Redis that lost its newest writes may have forgotten that a session was given. */
  #judgeClaims(fail: (failure: RegistryFailure, detail: string) => void): void {
    const first = new Map<string, ClaimRecord>();
    for (const claim of this.#claims.toSorted((a, b) => a.atMs - b.atMs)) {
      const before = first.get(claim.token);
      first.set(claim.token, claim);
      if (before === undefined) continue;
      const forgotten = this.#losses.some(
        ({ startMs, endMs }) =>
          endMs >= before.atMs - CLOCK_SLACK_MS && startMs <= claim.atMs + CLOCK_SLACK_MS,
      );
      if (forgotten) continue;
      fail(
        "doubleClaims",
        `${claim.session} was given to ${before.client} and ${claim.client} for one token`,
      );
    }
  }
}

/** Connection ids are `<node id>.<counter>`. */
function nodeOf(connection: string): string {
  return connection.slice(0, connection.lastIndexOf("."));
}
