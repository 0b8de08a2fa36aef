/**
 * Who is here: this node's channels and connections, and which connection hears
 * which channel.
 */

import type { AnswerTurns } from "./answer-turns.js";
import type { Position } from "./publication.js";
import type { Broker, BusPublication, ChannelKey } from "./broker.js";
import { LocalChannel, channelKey } from "./channel.js";
import { userOfChannel } from "./channel-name.js";
import type { JoinOutcome, Positioned } from "./channel-feed.js";
import type { Connection } from "./connection.js";
import type { ControlBus } from "./control.js";
import * as smallSet from "./small-set.js";
import { FanOut, obeysExclusion } from "./fan-out.js";
import { Feeds } from "./feeds.js";
import type { Grant } from "./grant.js";
import type { Identifiers } from "./identifiers.js";
import type { Log } from "./log.js";
import { costOf } from "./answers.js";
import { Members, type Arrival, type MembersAsked } from "./members.js";
import type { PresencePage, PresenceStore } from "./presence.js";
import type { Stats } from "./stats.js";
import { SubscriberCounts } from "./subscriber-counts.js";
import { Sweep } from "./sweep.js";
import { Users } from "./users.js";

export interface HubOptions {
  readonly broker: Broker;
  readonly presence: PresenceStore;
  readonly control: ControlBus;
  readonly stats: Stats;
  readonly log: Log;
  /** Before a connection can have been sent more than this many bytes by topics all are looked at. */
  readonly sweepBytes: number;
  readonly repair: boolean;
  /** Of history that is read at a time, and of a list of members. */
  readonly pageBytes: number;
  readonly answerTurns: AnswerTurns;
  readonly identifiers: Pick<Identifiers, "idOf">;
  /** Missed publications are sent while less than this waits for a client. */
  readonly replayBytes: number;
  /** A connection is on a channel but not on its topic: it has more to catch up with, from this position on. */
  behind(connection: Connection, channel: LocalChannel, position: Position): void;
}

export interface JoinRequest {
  /** Where the subscriber stands; undefined: it starts now. */
  readonly since?: Position | undefined;
  /** By which it subscribes. */
  readonly grant: Grant;
  /** It is answered with who is there, itself among them, and told of who comes and goes after these. Needs presence. */
  readonly members?: MembersAsked | undefined;
  /**
   * Called in the turn in which the connection joins, before what it missed is sent to it.
   * @param outcome  undefined: the channel has no positions to tell
   * @param members  where they were asked for
   */
  answer(outcome: JoinOutcome | undefined, members: PresencePage | undefined): void;
}

export class Hub {
  readonly connections = new Map<string, Connection>();
  readonly channels = new Map<ChannelKey, LocalChannel>();
  readonly users = new Users();
  readonly members: Members;
  readonly counts: SubscriberCounts;
  readonly #broker: Broker;
  readonly #stats: Stats;
  readonly #fanOut: FanOut;
  readonly #feeds: Feeds;
  readonly #options: HubOptions;
  readonly #sweep = new Sweep(this.connections);

  constructor(options: HubOptions) {
    const { broker, presence, stats, log, repair, pageBytes, answerTurns } = options;
    this.#options = options;
    this.#broker = broker;
    this.#stats = stats;
    this.#fanOut = new FanOut({
      stats,
      bytesDue: options.sweepBytes,
      mostChannels: () => this.#sweep.mostChannels,
      due: () => this.#sweep.soon(),
    });
    const { connections, channels } = this;
    this.members = new Members({ presence, fanOut: this.#fanOut, channels, connections, pageBytes });
    this.counts = new SubscriberCounts({ control: options.control, channels, fanOut: this.#fanOut, log });
    this.#feeds = new Feeds({
      broker,
      fanOut: this.#fanOut,
      excluded: (publication, channel) => this.#excluded(publication, channel),
      stats,
      log,
      repair,
      pageBytes,
      answerTurns,
    });
  }

  /**
   * Subscribes a connection; one that is subscribed already is answered alike. undefined: done in this turn; else the connection
   * is a subscriber once it resolves, unless it closed meanwhile.
   * @throws StarlingError unavailable, outcome_unknown, by the promise
   */
  join(connection: Connection, name: string, request: JoinRequest): Promise<void> | undefined {
    const key = connection.app.keyOf(name);
    let channel = this.channels.get(key);
    if (channel === undefined) {
      channel = new LocalChannel(key, connection.app.counts, connection.app.rulesOf(name));
      if (channel.rules.history !== undefined)
        channel.feed = this.#feeds.open(channel, channel.rules.history);
      this.channels.set(key, channel);
      channel.ready = this.#broker.subscribe(key);
    }
    if (channel.ready === undefined && channel.feed === undefined && request.members === undefined) {
      try {
        this.#attach(connection, channel, request, undefined);
      } finally {
        // A connection that is closed, or was by what it was sent, has not joined.
        this.#dropUnused(channel);
      }
      return undefined;
    }
    return this.#joinWhenReady(connection, channel, request);
  }

  async #joinWhenReady(connection: Connection, channel: LocalChannel, request: JoinRequest): Promise<void> {
    channel.joining++;
    let arrival: Arrival | undefined;
    try {
      if (channel.ready !== undefined) {
        await channel.ready;
        channel.ready = undefined;
      }
      const { feed, rules } = channel;
      const { grant, members } = request;
      const { narrowed } = grant;
      if (members !== undefined && !connection.isClosed)
        arrival = await this.members.arrive(connection, channel, grant, members);
      if (feed === undefined) {
        this.#attach(connection, channel, request, undefined, arrival);
        return;
      }
      const since = rules.recovery && narrowed?.recovery !== false ? request.since : undefined;
      const last = request.since === undefined && rules.replayLast && narrowed?.replayLast !== false;
      await feed.join(last ? "last" : since, (outcome) => {
        // A position given where the rules recover nothing is told so.
        const told =
          request.since !== undefined && since === undefined ? { ...outcome, recovered: false } : outcome;
        this.#attach(connection, channel, request, told, arrival);
      });
    } finally {
      arrival?.end();
      channel.joining--;
      this.#dropUnused(channel);
    }
  }

  #attach(
    connection: Connection,
    channel: LocalChannel,
    request: JoinRequest,
    outcome: JoinOutcome | undefined,
    arrival?: Arrival,
  ): void {
    if (connection.isClosed) return;
    const fitting = outcome === undefined ? undefined : this.fitting(connection, outcome);
    request.answer(fitting, arrival?.page);
    if (fitting !== undefined) this.sendMissed(connection, channel, fitting);
    // What was sent may have been more than the client takes.
    if (connection.isClosed) return;
    if (smallSet.has(connection.channels, channel)) {
      this.#goOnFrom(connection, channel, fitting);
      this.members.regrant(connection, channel, request.grant);
      return;
    }
    connection.channels = smallSet.add(connection.channels, channel);
    this.#sweep.note(connection);
    this.#countSubscription(connection, 1);
    if (fitting?.partial === true) this.#options.behind(connection, channel, fitting.position);
    else connection.joinTopic(channel);
    connection.keepGrant(channel, request.grant);
    if (this.members.show(connection, channel)) this.#stats.presenceJoins++;
    this.counts.changed(channel);
  }

  #countSubscription({ served, app }: Connection, change: 1 | -1): void {
    this.#stats.subscriptions += change;
    served.counts.subscriptions += change;
    app.counts.subscriptions += change;
  }

  /** A connection that subscribed again was sent what it asked for once more: the position of the answer counts. */
  #goOnFrom(connection: Connection, channel: LocalChannel, outcome: JoinOutcome | undefined): void {
    const skipped = connection.skipped?.has(channel) === true;
    if (outcome?.partial === true) {
      // On the topic it would be sent what comes next before the rest of what it missed.
      if (!skipped) connection.leaveTopic(channel);
      this.#options.behind(connection, channel, outcome.position);
    } else if (skipped) {
      connection.skipped?.set(channel, outcome?.position);
    }
  }

  /** As much of what was missed as may wait for the client; the rest follows once it has read. */
  fitting(connection: Connection, outcome: JoinOutcome): JoinOutcome {
    const { missed } = outcome;
    let room = this.#options.replayBytes - connection.bufferedBytes();
    let count = 0;
    while (count < missed.length && room > 0) room -= missed[count++]!.payload.bytes.length;
    if (count === missed.length) return outcome;
    const { offset, epoch } = missed[count]!.position;
    return {
      ...outcome,
      missed: missed.slice(0, count),
      position: { offset: offset - 1, epoch },
      partial: true,
    };
  }

  sendMissed(
    connection: Connection,
    channel: LocalChannel,
    { missed, recovered }: Pick<JoinOutcome, "missed" | "recovered">,
  ): void {
    connection.charge(costOf(missed));
    const { head, served } = channel.topic(connection.served);
    for (const publication of missed) {
      const { exclude } = publication;
      // Who starts now asks what the channel holds, be it something that was not told to it when it was new.
      const isExcluded =
        recovered !== undefined && exclude !== undefined && this.#named(exclude) === connection;
      if (isExcluded && obeysExclusion(connection, publication)) continue;
      connection.sendFrame(served.framing.publication(head, publication));
    }
  }

  /** undefined: the connection does not subscribe to a channel of this name. */
  channelOf({ app, channels }: Connection, name: string): LocalChannel | undefined {
    const channel = this.channels.get(app.keyOf(name));
    return channel !== undefined && smallSet.has(channels, channel) ? channel : undefined;
  }

  /** @returns whether it was subscribed */
  leave(connection: Connection, name: string): boolean {
    // It is on its way out, or has left: once is enough.
    if (connection.isClosed) return false;
    const channel = this.channelOf(connection, name);
    if (channel === undefined) return false;
    connection.channels = smallSet.remove(connection.channels, channel);
    this.#detach(connection, channel);
    connection.keepGrant(channel, undefined);
    // Who goes from channel to channel hears more of them between two sweeps than it holds.
    connection.checkBuffered();
    return true;
  }

  #detach(connection: Connection, channel: LocalChannel): void {
    // A reader that was skipped is off the topic already.
    if (connection.skipped?.delete(channel) === true) channel.skipped--;
    else connection.leaveTopic(channel);
    this.#countSubscription(connection, -1);
    this.members.leave(connection, channel);
    this.counts.changed(channel);
    this.#dropUnused(channel);
  }

  #dropUnused(channel: LocalChannel): void {
    if (channel.joining > 0 || channel.subscriberCount > 0) return;
    if (this.channels.get(channel.key) !== channel) return;
    this.channels.delete(channel.key);
    this.counts.forget(channel.key);
    channel.feed?.close();
    this.#broker.unsubscribe(channel.key);
  }

  add(connection: Connection): void {
    this.connections.set(connection.id, connection);
  }

  /**
   * Forgets a connection whose socket is closed; it still knows its channels, for the registry, and its grants, for what it
   * sent before.
   */
  remove(connection: Connection): void {
    this.connections.delete(connection.id);
    this.#sweep.forget(connection);
    for (const channel of smallSet.items(connection.channels)) this.#detach(connection, channel);
    this.users.forget(connection);
  }

  /**
   * Subscribers by name of the channels that start with `prefix`: the first
   * `limit` in name order, so that the same is cut off on every node.
   */
  channelCounts(app: string, prefix: string, limit: number): Record<string, number> {
    const keyPrefix = channelKey(app, prefix);
    const found = [...this.channels.values()].filter(({ key }) => key.startsWith(keyPrefix));
    found.sort((a, b) => (a.key < b.key ? -1 : 1));
    return Object.fromEntries(
      found.slice(0, limit).map((channel) => [channel.name, channel.subscriberCount]),
    );
  }

  /** Subscribers of each of these channels; of a user's channel, the user's connections. */
  subscriberCounts(app: string, names: readonly string[]): number[] {
    return names.map((name) => {
      const user = userOfChannel(name);
      if (user !== undefined) return this.users.connections(app, user).length;
      return this.channels.get(channelKey(app, name))?.subscriberCount ?? 0;
    });
  }

  hasSubscribers(key: ChannelKey): boolean {
    return this.#channel(key) !== undefined;
  }

  #channel(key: ChannelKey): LocalChannel | undefined {
    return this.channels.get(key) ?? this.users.channel(key);
  }

  /** Hands a publication from the bus to its local subscribers. */
  deliver(publication: BusPublication): void {
    const channel = this.#channel(publication.key);
    if (channel === undefined) {
      this.#stats.publicationsUnheard++;
      return;
    }
    if (channel.feed !== undefined && publication.position !== undefined) {
      channel.feed.live(publication as Positioned);
      return;
    }
    this.#fanOut.publish(channel, publication, this.#excluded(publication, channel));
  }

  #excluded({ exclude }: BusPublication, channel: LocalChannel): Connection | undefined {
    return exclude === undefined ? undefined : this.#member(exclude, channel);
  }

  /** A local connection, by its id or its number. */
  #named(name: string): Connection | undefined {
    const known = this.connections.get(name);
    if (known !== undefined) return known;
    const id = this.#options.identifiers.idOf(name);
    return id === undefined ? undefined : this.connections.get(id);
  }

  /**
   * A local connection that is on the channel's topic. Nobody else may be passed over: from a socket that is not on it
   * uWebSockets.js publishes to nobody.
   */
  #member(name: string, channel: LocalChannel): Connection | undefined {
    const connection = this.#named(name);
    // One that is gone, whose last frames are still taken, publishes to nobody.
    if (connection === undefined || connection.isClosed) return undefined;
    if (connection.skipped?.has(channel) === true) return undefined;
    if (smallSet.has(connection.channels, channel)) return connection;
    return this.users.includes(connection, channel) ? connection : undefined;
  }

  /** Fills every channel that is behind; resolves when none is. @throws StarlingError unavailable, outcome_unknown */
  checkPositions(): Promise<void> {
    return this.#feeds.check(this.channels.values());
  }

  /** The bus was away: who has no positions to fill from is told that something may be missing. */
  tellOutage(): void {
    for (const channel of this.channels.values()) {
      if (channel.feed !== undefined) continue;
      this.#stats.gaps++;
      this.#fanOut.notify(channel, { kind: "gap", position: undefined });
    }
  }

  /** Frames for a connection were dropped. It is closed later: a fan-out iterates over its topics now. */
  lost(connection: Connection): void {
    this.#sweep.lost(connection);
  }
}
