/**
 * Judges the rosters that clients build from a snapshot and the joins and leaves that follow it, for
 * checker.ts. As that it imports nothing of what it judges.
 *
 * The truth is who was connected when the run was over. On the way there each join must be of somebody whom
 * the roster did not have, and each leave of somebody whom it had: from the snapshot on, unless a fault since
 * then took events from the bus.
 */

/** Of one client in its order. A person is `=user`, or `-connection` where the client is anonymous. */
export interface RosterRecord {
  readonly kind: "roster";
  readonly client: string;
  readonly channel: string;
  readonly atMs: number;
  /** unknown: what it had is worth nothing until the next snapshot, as after a reconnect. */
  readonly what: "unknown" | "snapshot" | "join" | "leave" | "update";
  readonly persons: readonly string[];
  /** What each shows, as JSON; null: nothing. Absent: not judged. A person of several connections counts by the first. */
  readonly infos?: readonly (string | null)[];
}

/** By person: what its clients showed when the run was over, as JSON; null: nothing. */
export type Present = ReadonlyMap<string, ReadonlySet<string | null>>;

export const ROSTER_FAILURES = {
  rosterAbsent: "members that a client's roster lacks in the end",
  rosterGhosts: "members of a client's roster that are gone",
  doubledJoins: "joins of somebody whom the roster had",
  strayLeaves: "leaves of somebody whom the roster never had",
  rosterInfos: "members of a client's roster that show something else than they did",
} as const;

export type RosterFailure = keyof typeof ROSTER_FAILURES;

export interface RosterFault {
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
}

interface Surprise {
  readonly failure: RosterFailure;
  readonly sinceMs: number;
  readonly atMs: number;
  readonly detail: string;
}

interface Roster {
  readonly client: string;
  readonly channel: string;
  sinceMs: number;
  /** With what each shows, undefined where that was not told. */
  persons: Map<string, string | null | undefined> | undefined;
}

/** These take nothing from the bus of the nodes that live. */
const EVENTS_SURVIVE = /^(kill|drain|client-drop|slow-reader)\b/;
/** A fault is found out, and its snapshot told, this much after it at the latest. */
const AFTERMATH_MS = 30_000;

export class RosterChecker {
  readonly #rosters = new Map<string, Roster>();
  readonly #surprises: Surprise[] = [];

  get judged(): number {
    return this.#rosters.size;
  }

  add({ client, channel, atMs, what, persons, infos }: RosterRecord): void {
    const id = `${client} ${channel}`;
    let roster = this.#rosters.get(id);
    if (roster === undefined) {
      this.#rosters.set(id, (roster = { client, channel, sinceMs: atMs, persons: undefined }));
    }
    if (what === "unknown") roster.persons = undefined;
    if (what === "snapshot") {
      roster.persons = new Map();
      for (const [at, person] of persons.entries()) {
        if (!roster.persons.has(person)) roster.persons.set(person, infos?.[at]);
      }
      roster.sinceMs = atMs;
    }
    if (roster.persons === undefined || what === "unknown" || what === "snapshot") return;
    for (const [at, person] of persons.entries()) {
      if (what === "update") {
        if (roster.persons.has(person)) roster.persons.set(person, infos?.[at]);
        continue;
      }
      if (roster.persons.has(person) === (what === "join")) {
        const failure = what === "join" ? "doubledJoins" : "strayLeaves";
        const detail = `${client} was told a ${what} of ${person} in ${channel}`;
        this.#surprises.push({ failure, sinceMs: roster.sinceMs, atMs, detail });
      }
      if (what === "join") roster.persons.set(person, infos?.[at]);
      else roster.persons.delete(person);
    }
  }

  /** @param present who was connected in the end, by channel, and whose rosters count: undefined for a client that was not */
  judge(
    personOf: (client: string) => string | undefined,
    present: ReadonlyMap<string, Present>,
    faults: readonly RosterFault[],
    fail: (failure: RosterFailure, detail: string, count?: number) => void,
  ): void {
    const losses = faults.filter(({ name }) => !EVENTS_SURVIVE.test(name));
    for (const { failure, sinceMs, atMs, detail } of this.#surprises) {
      const excused = losses.some(({ startMs, endMs }) => startMs <= atMs && endMs + AFTERMATH_MS >= sinceMs);
      if (!excused) fail(failure, detail);
    }
    for (const { client, channel, persons } of this.#rosters.values()) {
      if (personOf(client) === undefined) continue;
      const expected: Present = present.get(channel) ?? new Map();
      const had = persons ?? new Map<string, undefined>();
      const absent = [...expected.keys()].filter((person) => !had.has(person));
      const ghosts = [...had.keys()].filter((person) => !expected.has(person));
      const others = [...had].filter(([person, info]) => {
        return info !== undefined && expected.get(person)?.has(info) === false;
      });
      const whose =
        persons === undefined ? `${client} knows nobody in ${channel} and` : `${client} in ${channel}`;
      if (absent.length > 0) {
        fail("rosterAbsent", `${whose} lacks ${absent.slice(0, 3).join(", ")}`, absent.length);
      }
      if (ghosts.length > 0)
        fail("rosterGhosts", `${whose} has ${ghosts.slice(0, 3).join(", ")}`, ghosts.length);
      if (others.length > 0) {
        const [person, info] = others[0]!;
        const shown = [...expected.get(person)!].map((each) => String(each).slice(0, 60)).join(" or ");
        const detail = `${whose} has ${person} show ${String(info).slice(0, 60)}, not ${shown}`;
        fail("rosterInfos", detail, others.length);
      }
    }
  }
}
