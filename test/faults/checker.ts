/**
 * Judges what clients saw of channels with history. It imports nothing of the nodes: what one believes about
 * itself must not decide whether it is right.
 *
 * The truth is what publishers were told: an acknowledged publication has a channel, an offset and
 * an epoch; one that failed as unknown or timed out may have happened; one that was refused has not.
 * Against it stands what each client recorded, in its order. Every publication must have come once
 * and in order, or the client must have been told `recovered: false`, and for a reason that the log
 * of faults or the length of the history gives.
 *
 * Times are milliseconds since 1970 of one machine's clock.
 */

import { ROSTER_FAILURES, RosterChecker, type RosterRecord } from "./roster-checker.js";

export interface Position {
  readonly offset: number;
  readonly epoch: string;
}

/** A publication as its publisher knows it. */
export interface PublicationRecord {
  readonly kind: "publication";
  readonly id: string;
  readonly channel: string;
  readonly sentAtMs: number;
  readonly settledAtMs: number;
  /** acked: at `position`. maybe: unknown, or no answer. refused: it must never be seen. */
  readonly outcome: "acked" | "maybe" | "refused";
  readonly position?: Position | undefined;
}

/** Which channels a client asked for: before anything else of that client. */
export interface ClientRecord {
  readonly kind: "client";
  readonly client: string;
  readonly channels: readonly string[];
  /** Who it is, where it is not anonymous. */
  readonly user?: string | undefined;
}

/** The answer to a subscription: where the client stands once it has had the `missed` that follow. */
export interface PositionRecord {
  readonly kind: "position";
  readonly client: string;
  readonly channel: string;
  readonly atMs: number;
  readonly position?: Position | undefined;
  readonly missed: number;
  /** undefined: the server did not say. */
  readonly recovered?: boolean | undefined;
}

export interface MessageRecord {
  readonly kind: "message";
  readonly client: string;
  readonly channel: string;
  readonly atMs: number;
  readonly id: string;
  readonly position?: Position | undefined;
}

export interface GapRecord {
  readonly kind: "gap";
  readonly client: string;
  readonly channel: string;
  readonly atMs: number;
  readonly recovered: boolean;
  readonly position?: Position | undefined;
  readonly missed: number;
}

/** How a client stood when the run was over. */
export interface EndRecord {
  readonly kind: "end";
  /** What it shows of itself as a member, as JSON; absent: nothing. */
  readonly info?: string | undefined;
  readonly client: string;
  readonly connected: boolean;
  readonly connection?: string | undefined;
}

export interface FaultRecord {
  readonly kind: "fault";
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  /** Whether Redis lost data by it, or may have: it began anew. */
  readonly losesData: boolean;
}

/** The members of a channel as one node told them when the run was over. */
export interface PresenceRecord {
  readonly kind: "presence";
  readonly node: string;
  readonly channel: string;
  readonly connections: readonly string[];
}

export type Evidence =
  | PublicationRecord
  | ClientRecord
  | PositionRecord
  | MessageRecord
  | GapRecord
  | EndRecord
  | FaultRecord
  | PresenceRecord
  | RosterRecord;

export interface CheckerOptions {
  /** What the channels keep: a loss beyond it is excused. */
  readonly historySize: number;
  readonly historyTtlMs: number;
  /** Details that a verdict lists at most of each kind of failure. Default 8. */
  readonly detailsMax?: number;
}

export const FAILURES = {
  silentLosses: "publications that a client missed without being told",
  duplicates: "publications that came more than once",
  reorderings: "publications out of order",
  foreign: "publications of a channel that the client did not ask for",
  mixedUp: "positions that two publications have, or epochs that came back",
  unpositioned: "publications or answers without a position",
  untrue: "publications that nobody made, or that were refused and came all the same",
  unexcused: "recovered: false for no reason",
  ghosts: "members that are gone",
  absent: "members that a node does not know",
  ...ROSTER_FAILURES,
} as const;

export type Failure = keyof typeof FAILURES;

export interface Verdict {
  readonly ok: boolean;
  readonly failures: Readonly<Record<Failure, number>>;
  readonly acked: number;
  readonly maybe: number;
  readonly refused: number;
  /** Publications that clients received, each judged. */
  readonly deliveries: number;
  /** Clients that were connected when the run was over, by channel: each had to be at its top. */
  readonly endings: number;
  /** Answers that said whether a client has everything: with a position given, or a gap. */
  readonly recoveries: number;
  readonly notRecovered: number;
  /** Publications that came again in a new epoch: made again after Redis had forgotten them. */
  readonly repeatedAfterLoss: number;
  readonly epochs: number;
  readonly presences: number;
  /** Of clients, each of one channel. */
  readonly rosters: number;
  /** The first few failures, in words. */
  readonly details: readonly string[];
}

interface ChannelState {
  /** Where the client stands; undefined before the first answer. */
  at: Position | undefined;
  /** The highest offset that it had of this epoch. */
  highest: number;
  /** Offsets of this epoch that were passed over: what comes late is not what came twice. */
  readonly skipped: Set<number>;
  /** It was told that something was lost, and not where it stands now. */
  adrift: boolean;
  readonly left: Set<string>;
}

interface ClientState {
  readonly channels: Map<string, ChannelState>;
  user: string | undefined;
  end: EndRecord | undefined;
}

interface Epoch {
  readonly name: string;
  firstSeenMs: number;
  /** When the last acknowledged publication of it was sent: it was alive after that. */
  lastSentMs: number;
  /** By offset. */
  readonly ids: Map<number, string>;
  /** By id. */
  readonly offsets: Map<string, number>;
  readonly acked: PublicationRecord[];
}

interface ToldLoss {
  readonly client: string;
  readonly channel: string;
  readonly atMs: number;
  readonly before: Position | undefined;
  readonly after: Position | undefined;
}

/** Clocks of one machine, read in several processes. */
const CLOCK_SLACK_MS = 20;
const SKIPPED_MAX = 1_000;

export class Checker {
  readonly #options: CheckerOptions;
  readonly #clients = new Map<string, ClientState>();
  /** By channel. */
  readonly #epochs = new Map<string, Map<string, Epoch>>();
  readonly #outcomes = new Map<string, PublicationRecord["outcome"]>();
  readonly #channelsOfIds = new Map<string, string>();
  readonly #seen = new Map<string, string>();
  readonly #faults: FaultRecord[] = [];
  readonly #presences: PresenceRecord[] = [];
  readonly #rosters = new RosterChecker();
  readonly #toldLosses: ToldLoss[] = [];
  readonly #failures = Object.fromEntries(Object.keys(FAILURES).map((name) => [name, 0])) as Record<
    Failure,
    number
  >;
  readonly #details: string[] = [];
  readonly #detailCounts = new Map<Failure, number>();
  #counts = { acked: 0, maybe: 0, refused: 0 };
  #deliveries = 0;
  #recoveries = 0;

  constructor(options: CheckerOptions) {
    this.#options = options;
  }

  /** Of one client in its order; otherwise in any. */
  add(evidence: Evidence): void {
    switch (evidence.kind) {
      case "publication":
        return this.#publication(evidence);
      case "client":
        return this.#client(evidence);
      case "position":
        return this.#positioned(evidence);
      case "message":
        return this.#message(evidence);
      case "gap":
        return this.#gap(evidence);
      case "end":
        this.#clientOf(evidence.client).end = evidence;
        return;
      case "fault":
        this.#faults.push(evidence);
        return;
      case "presence":
        this.#presences.push(evidence);
        return;
      case "roster":
        return this.#rosters.add(evidence);
    }
  }

  /** Once, when everything was added. */
  verdict(): Verdict {
    this.#judgeTruth();
    this.#judgeOrderOfAcks();
    this.#judgeEnds();
    this.#judgeToldLosses();
    this.#judgePresence();
    this.#judgeRosters();
    const endings = [...this.#clients.values()].reduce(
      (sum, { end, channels }) => sum + (end?.connected === true ? channels.size : 0),
      0,
    );
    const epochs = [...this.#epochs.values()].reduce((sum, { size }) => sum + size, 0);
    // A run in which nothing happened proves nothing.
    const judged = this.#counts.acked > 0 && this.#deliveries > 0 && endings > 0;
    if (!judged)
      this.#details.unshift("nothing to judge: no acknowledged publication reached a client to the end");
    return {
      ok: judged && Object.values(this.#failures).every((count) => count === 0),
      failures: { ...this.#failures },
      ...this.#counts,
      deliveries: this.#deliveries,
      endings,
      recoveries: this.#recoveries,
      notRecovered: this.#toldLosses.length,
      repeatedAfterLoss: this.#repeatedAfterLoss(),
      epochs,
      presences: this.#presences.length,
      rosters: this.#rosters.judged,
      details: this.#details,
    };
  }

  #fail(failure: Failure, detail: string, count = 1): void {
    this.#failures[failure] += count;
    const told = (this.#detailCounts.get(failure) ?? 0) + 1;
    this.#detailCounts.set(failure, told);
    if (told <= (this.#options.detailsMax ?? 8)) this.#details.push(`${failure}: ${detail}`);
  }

  #publication(publication: PublicationRecord): void {
    const { id, channel, outcome, position } = publication;
    this.#counts[outcome]++;
    if (this.#outcomes.has(id)) this.#fail("untrue", `two publishers used the id ${id}`);
    this.#outcomes.set(id, outcome);
    this.#channelsOfIds.set(id, channel);
    if (outcome !== "acked") return;
    if (position === undefined) {
      return this.#fail("unpositioned", `${id} to ${channel} was acknowledged without a position`);
    }
    const epoch = this.#epochOf(channel, position.epoch, publication.settledAtMs);
    epoch.lastSentMs = Math.max(epoch.lastSentMs, publication.sentAtMs);
    epoch.acked.push(publication);
    this.#place(channel, position, id, "acknowledged");
  }

  #client({ client, channels, user }: ClientRecord): void {
    const state = this.#clientOf(client);
    state.user = user;
    for (const channel of channels) {
      state.channels.set(channel, {
        at: undefined,
        highest: 0,
        skipped: new Set(),
        adrift: false,
        left: new Set(),
      });
    }
  }

  #positioned({ client, channel, atMs, position, missed, recovered }: PositionRecord): void {
    const state = this.#channelOf(client, channel);
    if (state === undefined) return;
    if (position === undefined) {
      return this.#fail("unpositioned", `${client} was answered about ${channel} without a position`);
    }
    this.#epochOf(channel, position.epoch, atMs);
    const start = { offset: position.offset - missed, epoch: position.epoch };
    if (state.at !== undefined || recovered !== undefined) this.#recoveries++;
    if (recovered === false) this.#lossTold(state, { client, channel, atMs, before: state.at, after: start });
    // Who says nothing else says that nothing was missed.
    else if (state.at !== undefined) this.#continues(state, start, `${client} came back to ${channel}`);
    this.#stand(state, start, client, channel);
  }

  #gap({ client, channel, atMs, recovered, position, missed }: GapRecord): void {
    const state = this.#channelOf(client, channel);
    if (state === undefined) return;
    this.#recoveries++;
    if (position === undefined) {
      this.#lossTold(state, { client, channel, atMs, before: state.at, after: undefined });
      state.adrift = true;
      return;
    }
    this.#epochOf(channel, position.epoch, atMs);
    const start = { offset: position.offset - missed, epoch: position.epoch };
    if (!recovered) this.#lossTold(state, { client, channel, atMs, before: state.at, after: start });
    else if (state.at !== undefined)
      this.#continues(state, start, `${client} was told a filled gap in ${channel}`);
    this.#stand(state, start, client, channel);
  }

  #lossTold(state: ChannelState, loss: ToldLoss): void {
    this.#toldLosses.push(loss);
    state.adrift = false;
  }

  /** Was told, or left to believe, that it has everything up to `start`. */
  #continues(state: ChannelState, start: Position, what: string): void {
    const at = state.at!;
    if (state.adrift) return;
    if (start.epoch !== at.epoch) {
      return this.#fail(
        "silentLosses",
        `${what}: from ${text(at)} to ${text(start)}, as if nothing was lost`,
      );
    }
    const lost = start.offset - at.offset;
    if (lost > 0) this.#fail("silentLosses", `${what}: ${text(at)} continues at ${text(start)}`, lost);
  }

  #stand(state: ChannelState, position: Position, client: string, channel: string): void {
    if (state.at !== undefined && state.at.epoch !== position.epoch) {
      state.left.add(state.at.epoch);
      state.highest = 0;
      state.skipped.clear();
      if (state.left.has(position.epoch)) {
        this.#fail(
          "mixedUp",
          `${client} came back to an epoch of ${channel} that was left: ${text(position)}`,
        );
      }
    }
    state.at = position;
    state.adrift = false;
  }

  #message({ client, channel, atMs, id, position }: MessageRecord): void {
    this.#deliveries++;
    const state = this.#channelOf(client, channel);
    if (state === undefined) return;
    if (this.#seen.get(id) === undefined) this.#seen.set(id, channel);
    if (position === undefined) {
      return this.#fail("unpositioned", `${client} had ${id} of ${channel} without a position`);
    }
    this.#epochOf(channel, position.epoch, atMs);
    this.#place(channel, position, id, `received by ${client}`);
    const what = `${client} had ${id} of ${channel} at ${text(position)}`;
    const at = state.at;
    if (at === undefined) {
      this.#fail("reorderings", `${what} before its subscription was answered`);
    } else if (state.adrift) {
      // It was told a loss of unknown extent: this is where it stands.
    } else if (position.epoch !== at.epoch) {
      this.#fail(
        "silentLosses",
        `${what} while it stood at ${text(at)}: another epoch, and nothing was told`,
      );
    } else if (position.offset <= Math.max(at.offset, state.highest)) {
      const had = position.offset <= state.highest && !state.skipped.has(position.offset);
      this.#fail(had ? "duplicates" : "reorderings", `${what} after ${text(at)}`);
      if (position.offset <= at.offset) return;
    } else if (position.offset > at.offset + 1) {
      this.#fail("silentLosses", `${what} while it stood at ${text(at)}`, position.offset - at.offset - 1);
      const from = Math.max(at.offset + 1, position.offset - SKIPPED_MAX);
      for (let offset = from; offset < position.offset; offset++) state.skipped.add(offset);
    }
    this.#stand(state, position, client, channel);
    state.highest = Math.max(state.highest, position.offset);
  }

  #place(channel: string, { offset, epoch: name }: Position, id: string, how: string): void {
    const epoch = this.#epochs.get(channel)!.get(name)!;
    const other = epoch.ids.get(offset);
    if (other === undefined) epoch.ids.set(offset, id);
    else if (other !== id) {
      this.#fail("mixedUp", `${channel} has ${other} and ${id} (${how}) at ${offset} of ${name}`);
    }
    const elsewhere = epoch.offsets.get(id);
    if (elsewhere === undefined) epoch.offsets.set(id, offset);
    else if (elsewhere !== offset) {
      this.#fail("duplicates", `${channel} has ${id} at ${elsewhere} and ${offset} of ${name} (${how})`);
    }
  }

  #epochOf(channel: string, name: string, seenMs: number): Epoch {
    let epochs = this.#epochs.get(channel);
    if (epochs === undefined) this.#epochs.set(channel, (epochs = new Map<string, Epoch>()));
    let epoch = epochs.get(name);
    if (epoch === undefined) {
      epoch = {
        name,
        firstSeenMs: seenMs,
        lastSentMs: -Infinity,
        ids: new Map(),
        offsets: new Map(),
        acked: [],
      };
      epochs.set(name, epoch);
    }
    epoch.firstSeenMs = Math.min(epoch.firstSeenMs, seenMs);
    return epoch;
  }

  #clientOf(client: string): ClientState {
    let state = this.#clients.get(client);
    if (state === undefined)
      this.#clients.set(client, (state = { channels: new Map(), user: undefined, end: undefined }));
    return state;
  }

  #channelOf(client: string, channel: string): ChannelState | undefined {
    const state = this.#clientOf(client).channels.get(channel);
    if (state === undefined) this.#fail("foreign", `${client} heard of ${channel}, which it never asked for`);
    return state;
  }

  #judgeTruth(): void {
    for (const [id, channel] of this.#seen) {
      const outcome = this.#outcomes.get(id);
      if (outcome === undefined) this.#fail("untrue", `${id} of ${channel} was received and nobody made it`);
      else if (outcome === "refused") {
        this.#fail(
          "untrue",
          `${id} of ${channel} was received and its publisher was told that it was not taken`,
        );
      } else if (this.#channelsOfIds.get(id) !== channel) {
        this.#fail(
          "foreign",
          `${id} was published to ${this.#channelsOfIds.get(id)} and received in ${channel}`,
        );
      }
    }
  }

  /** Who was acknowledged before another was sent stands before it. */
  #judgeOrderOfAcks(): void {
    for (const [channel, epochs] of this.#epochs) {
      for (const { acked, name } of epochs.values()) {
        const ordered = acked.toSorted((a, b) => b.position!.offset - a.position!.offset);
        let earliest: PublicationRecord | undefined;
        for (const publication of ordered) {
          const later = earliest !== undefined && earliest.position!.offset > publication.position!.offset;
          if (later && earliest!.settledAtMs + CLOCK_SLACK_MS < publication.sentAtMs) {
            this.#fail(
              "reorderings",
              `${publication.id} was sent to ${channel} after ${earliest!.id} was acknowledged and stands before it in ${name}`,
            );
          }
          if (earliest === undefined || publication.settledAtMs < earliest.settledAtMs)
            earliest = publication;
        }
      }
    }
  }

  /** Who was connected at the end stands at the top of every channel, or beyond. */
  #judgeEnds(): void {
    const tops = new Map<string, Position>();
    for (const [channel, epochs] of this.#epochs) {
      const acked = [...epochs.values()].flatMap((epoch) => epoch.acked);
      const last = acked.reduce<PublicationRecord | undefined>(
        (latest, one) => (latest === undefined || one.settledAtMs > latest.settledAtMs ? one : latest),
        undefined,
      );
      if (last === undefined) continue;
      const { epoch } = last.position!;
      const offset = epochs.get(epoch)!.acked.reduce((top, one) => Math.max(top, one.position!.offset), 0);
      tops.set(channel, { offset, epoch });
    }
    for (const [client, { channels, end }] of this.#clients) {
      if (end?.connected !== true) continue;
      for (const [channel, { at }] of channels) {
        const top = tops.get(channel);
        if (top === undefined) continue;
        if (at?.epoch === top.epoch && at.offset >= top.offset) continue;
        const stood = at === undefined ? "nowhere" : `at ${text(at)}`;
        const lost = at?.epoch === top.epoch ? top.offset - at.offset : 1;
        this.#fail("silentLosses", `${client} ended ${stood} in ${channel}, which is at ${text(top)}`, lost);
      }
    }
  }

  #judgeToldLosses(): void {
    const uncaused = new Map<string, Set<string>>();
    for (const [channel, epochs] of this.#epochs) uncaused.set(channel, this.#uncaused(epochs));
    for (const { client, channel, atMs, before, after } of this.#toldLosses) {
      const from = before === undefined ? "nowhere" : text(before);
      const to = after === undefined ? "nowhere" : text(after);
      const what = `${client} in ${channel}, from ${from} to ${to}`;
      if (after === undefined) this.#fail("unexcused", `${what}: a channel with history has a position`);
      else if (before === undefined || before.epoch !== after.epoch) {
        if (uncaused.get(channel)!.has(after.epoch))
          this.#fail("unexcused", `${what}: no fault lost data before`);
      } else if (!this.#trimmedOrExpired(channel, before, after, atMs)) {
        this.#fail("unexcused", `${what}: the history reached back to there`);
      }
    }
  }

  /** Epochs that no loss of data explains. Each such fault explains one of a channel. */
  #uncaused(epochs: Map<string, Epoch>): Set<string> {
    const faults = this.#faults
      .filter(({ losesData }) => losesData)
      .toSorted((a, b) => a.startMs - b.startMs);
    const uncaused = new Set<string>();
    let next = 0;
    let aliveMs = -Infinity;
    const ordered = [...epochs.values()].toSorted((a, b) => a.firstSeenMs - b.firstSeenMs);
    for (const [index, epoch] of ordered.entries()) {
      if (index > 0) {
        const cause = faults.findIndex(
          ({ startMs, endMs }, at) =>
            at >= next && endMs + CLOCK_SLACK_MS >= aliveMs && startMs - CLOCK_SLACK_MS <= epoch.firstSeenMs,
        );
        if (cause === -1) uncaused.add(epoch.name);
        else next = cause + 1;
      }
      aliveMs = Math.max(aliveMs, epoch.lastSentMs);
    }
    return uncaused;
  }

  #trimmedOrExpired(channel: string, before: Position, after: Position, atMs: number): boolean {
    const { historySize, historyTtlMs } = this.#options;
    if (after.offset - before.offset > historySize) return true;
    const id = this.#epochs
      .get(channel)!
      .get(before.epoch)!
      .ids.get(before.offset + 1);
    const first = this.#epochs
      .get(channel)!
      .get(before.epoch)!
      .acked.find((publication) => publication.id === id);
    return first !== undefined && atMs - first.settledAtMs > historyTtlMs;
  }

  #judgePresence(): void {
    const members = new Map<string, Set<string>>();
    for (const { channels, end } of this.#clients.values()) {
      if (end?.connected !== true || end.connection === undefined) continue;
      for (const channel of channels.keys()) {
        const set = members.get(channel) ?? new Set();
        members.set(channel, set.add(end.connection));
      }
    }
    for (const { node, channel, connections } of this.#presences) {
      const expected = members.get(channel) ?? new Set();
      const told = new Set(connections);
      const ghosts = [...told].filter((connection) => !expected.has(connection));
      const absent = [...expected].filter((connection) => !told.has(connection));
      if (ghosts.length > 0) {
        this.#fail("ghosts", `${node} has ${ghosts.slice(0, 3).join(", ")} in ${channel}`, ghosts.length);
      }
      if (absent.length > 0) {
        this.#fail("absent", `${node} lacks ${absent.slice(0, 3).join(", ")} in ${channel}`, absent.length);
      }
      if (told.size < connections.length) {
        this.#fail(
          "duplicates",
          `${node} lists a member of ${channel} twice`,
          connections.length - told.size,
        );
      }
    }
  }

  #judgeRosters(): void {
    const personOf = (client: string): string | undefined => {
      const { user, end } = this.#clientOf(client);
      if (end?.connected !== true || end.connection === undefined) return undefined;
      return user === undefined ? `-${end.connection}` : `=${user}`;
    };
    const present = new Map<string, Map<string, Set<string | null>>>();
    for (const [client, { channels, end }] of this.#clients) {
      const person = personOf(client);
      if (person === undefined) continue;
      for (const channel of channels.keys()) {
        const persons = present.get(channel) ?? new Map<string, Set<string | null>>();
        present.set(channel, persons);
        persons.set(person, (persons.get(person) ?? new Set()).add(end?.info ?? null));
      }
    }
    this.#rosters.judge(personOf, present, this.#faults, (failure, detail, count) =>
      this.#fail(failure, detail, count),
    );
  }

  #repeatedAfterLoss(): number {
    let repeated = 0;
    for (const epochs of this.#epochs.values()) {
      const ids = new Set<string>();
      for (const { offsets } of epochs.values()) {
        for (const id of offsets.keys()) {
          if (ids.has(id)) repeated++;
          ids.add(id);
        }
      }
    }
    return repeated;
  }
}

export function judge(evidence: Iterable<Evidence>, options: CheckerOptions): Verdict {
  const checker = new Checker(options);
  for (const one of evidence) checker.add(one);
  return checker.verdict();
}

/** As lines to print. */
export function describeVerdict(verdict: Verdict): string[] {
  const { failures, recoveries, notRecovered } = verdict;
  const share = recoveries === 0 ? "0" : ((notRecovered / recoveries) * 100).toFixed(2);
  return [
    `publications   ${verdict.acked} acknowledged, ${verdict.maybe} maybe, ${verdict.refused} refused`,
    `deliveries     ${verdict.deliveries} judged; ${verdict.endings} subscriptions held to the end`,
    `recoveries     ${recoveries}, of which ${notRecovered} (${share} %) were told recovered: false`,
    `epochs         ${verdict.epochs}; ${verdict.repeatedAfterLoss} publications made again after Redis forgot them`,
    `presence       ${verdict.presences} lists compared, and ${verdict.rosters} rosters of clients`,
    ...Object.entries(FAILURES).map(
      ([name, meaning]) =>
        `${failures[name as Failure] === 0 ? "ok  " : "FAIL"} ${name.padEnd(12)} ${failures[name as Failure]}  ${meaning}`,
    ),
    ...verdict.details.map((detail) => `     ${detail}`),
    verdict.ok ? "verdict: all held" : "verdict: FAILED",
  ];
}

function text({ offset, epoch }: Position): string {
  return `${epoch}:${offset}`;
}
