/**
 * Who is here: this node's channels, connections and users, and the delivery of
 * publications to them. Fan-out itself is the transport's: a publication costs
 * one encoding and one native call per codec, however many subscribers it has.
 */

import { CODECS } from "../protocol/codecs.js";
import type { Broker, BusPublication, ChannelKey } from "./broker.js";
import { LocalChannel, channelKey } from "./channel.js";
import type { Connection } from "./connection.js";
import type { Stats } from "./stats.js";
import type { Topics } from "./transport.js";

/** A user's connections on this node. */
class UserGroup {
  readonly connections = new Set<Connection>();
  /** `#user:` as a channel: made by the first publication to it, as few users get any. */
  channel: LocalChannel | undefined;
}

const USER_MARK = "/#user:";

export class Hub {
  readonly connections = new Map<string, Connection>();
  readonly channels = new Map<ChannelKey, LocalChannel>();
  readonly #users = new Map<string, UserGroup>();
  readonly #broker: Broker;
  readonly #topics: Topics;
  readonly #stats: Stats;
  readonly #codecStats;
  readonly #sweepBytes: number;
  /** Bytes handed to topics since the last look for slow readers. */
  #unsweptBytes = 0;
  #sweepDue: NodeJS.Immediate | undefined;
  /** Connections that lost frames: closed by the next sweep. */
  readonly #lossy = new Set<Connection>();

  constructor(options: {
    broker: Broker;
    topics: Topics;
    stats: Stats;
    /** After this many bytes handed to topics all connections are looked at. */
    sweepBytes: number;
  }) {
    this.#sweepBytes = options.sweepBytes;
    this.#broker = options.broker;
    this.#topics = options.topics;
    this.#stats = options.stats;
    this.#codecStats = CODECS.map((codec) => options.stats.codec(codec.name));
  }

  /**
   * Subscribes a connection. undefined: done in this turn; else the connection
   * is a subscriber once it resolves, unless it closed meanwhile.
   */
  join(connection: Connection, name: string): Promise<void> | undefined {
    const key = channelKey(connection.app, name);
    let channel = this.channels.get(key);
    if (channel === undefined) {
      channel = new LocalChannel(key);
      this.channels.set(key, channel);
      channel.ready = this.#broker.subscribe(key);
    }
    if (channel.ready !== undefined) return this.#joinWhenReady(connection, channel, channel.ready);
    this.#attach(connection, channel);
    return undefined;
  }

  async #joinWhenReady(connection: Connection, channel: LocalChannel, ready: Promise<void>): Promise<void> {
    channel.joining++;
    try {
      await ready;
      channel.ready = undefined;
    } finally {
      channel.joining--;
      if (channel.ready === undefined && !connection.isClosed) this.#attach(connection, channel);
      else this.#dropUnused(channel);
    }
  }

  #attach(connection: Connection, channel: LocalChannel): void {
    connection.channels.add(channel);
    channel.subscribers[connection.codecIndex]!++;
    this.#stats.subscriptions++;
    connection.socket.subscribe(channel.topics[connection.codecIndex]!);
  }

  /** @returns whether it was subscribed */
  leave(connection: Connection, name: string): boolean {
    const channel = this.channels.get(channelKey(connection.app, name));
    if (channel === undefined || !connection.channels.delete(channel)) return false;
    connection.socket.unsubscribe(channel.topics[connection.codecIndex]!);
    this.#detach(connection, channel);
    return true;
  }

  #detach(connection: Connection, channel: LocalChannel): void {
    channel.subscribers[connection.codecIndex]!--;
    this.#stats.subscriptions--;
    this.#dropUnused(channel);
  }

  #dropUnused(channel: LocalChannel): void {
    if (channel.joining > 0 || channel.subscriberCount > 0) return;
    if (this.channels.get(channel.key) !== channel) return;
    this.channels.delete(channel.key);
    this.#broker.unsubscribe(channel.key);
  }

  add(connection: Connection): void {
    this.connections.set(connection.id, connection);
  }

  /** Forgets a connection whose socket is closed (the transport has left its topics). */
  remove(connection: Connection): void {
    this.connections.delete(connection.id);
    this.#forgetUser(connection);
    for (const channel of connection.channels) this.#detach(connection, channel);
  }

  /** The connection's identity became known or changed. */
  identify(connection: Connection, userId: string | null): void {
    if (connection.userId === userId) return;
    this.#forgetUser(connection);
    connection.userId = userId;
    if (userId === null) return;
    const key = channelKey(connection.app, userId);
    let group = this.#users.get(key);
    if (group === undefined) {
      group = new UserGroup();
      this.#users.set(key, group);
    }
    group.connections.add(connection);
    if (group.channel !== undefined) this.#attachUser(connection, group.channel);
  }

  #attachUser(connection: Connection, channel: LocalChannel): void {
    channel.subscribers[connection.codecIndex]!++;
    connection.socket.subscribe(channel.topics[connection.codecIndex]!);
  }

  #forgetUser(connection: Connection): void {
    if (connection.userId === null) return;
    const key = channelKey(connection.app, connection.userId);
    const group = this.#users.get(key);
    if (group === undefined || !group.connections.delete(connection)) return;
    if (group.channel !== undefined) {
      group.channel.subscribers[connection.codecIndex]!--;
      connection.socket.unsubscribe(group.channel.topics[connection.codecIndex]!);
    }
    if (group.connections.size === 0) this.#users.delete(key);
  }

  connectionsOfUser(app: string, userId: string): readonly Connection[] {
    return [...(this.#users.get(channelKey(app, userId))?.connections ?? [])];
  }

  /**
   * Subscribers by name of the channels that start with `prefix`: the first
   * `limit` in name order, so that the same is cut off on every node.
   */
  channelCounts(app: string, prefix: string, limit: number): Record<string, number> {
    const keyPrefix = channelKey(app, prefix);
    const found = [...this.channels.values()].filter(({ key }) => key.startsWith(keyPrefix));
    found.sort((a, b) => (a.key < b.key ? -1 : 1));
    return Object.fromEntries(found.slice(0, limit).map((channel) => [channel.name, channel.subscriberCount]));
  }

  /** Hands a publication from the bus to its local subscribers. */
  deliver(publication: BusPublication): void {
    const channel = this.channels.get(publication.key) ?? this.#userChannel(publication.key);
    if (channel === undefined) {
      this.#stats.publicationsUnheard++;
      return;
    }
    const excluded =
      publication.exclude === undefined ? undefined : this.#member(publication.exclude, channel);
    const message = {
      channel: channel.name,
      payload: publication.payload,
      from: publication.from,
      event: publication.event,
      tags: publication.tags,
      position: publication.position,
    };
    for (let i = 0; i < CODECS.length; i++) {
      const subscribers = channel.subscribers[i]!;
      if (subscribers === 0) continue;
      const codec = CODECS[i]!;
      const frame = codec.encodePublication(message);
      if (excluded !== undefined && excluded.codecIndex === i) {
        excluded.socket.publish(channel.topics[i]!, frame, codec.binary);
      } else {
        this.#topics.publish(channel.topics[i]!, frame, codec.binary);
      }
      const stats = this.#codecStats[i]!;
      stats.messagesOut += subscribers;
      stats.bytesOut += subscribers * frame.length;
      this.#unsweptBytes += frame.length;
    }
    if (this.#unsweptBytes >= this.#sweepBytes) this.#sweepDue ??= setImmediate(() => this.#sweep());
    this.#stats.publicationsDelivered++;
    this.#stats.deliverySeconds.observe(Math.max(0, Date.now() - publication.publishedAtMs) / 1000);
  }

  /**
   * A local connection that hears the channel. Nobody else may be passed over: from a socket
   * without any topic uWebSockets.js publishes to nobody.
   */
  #member(connectionId: string, channel: LocalChannel): Connection | undefined {
    const connection = this.connections.get(connectionId);
    if (connection === undefined || connection.channels.has(channel)) return connection;
    if (connection.userId === null) return undefined;
    const group = this.#users.get(channelKey(connection.app, connection.userId));
    return group?.channel === channel ? connection : undefined;
  }

  /** Frames for a connection were dropped. It is closed later: a fan-out iterates over its topics now. */
  lost(connection: Connection): void {
    this.#lossy.add(connection);
    this.#sweepDue ??= setImmediate(() => this.#sweep());
  }

  /**
   * Native fan-out does not tell who falls behind. But nobody can have fallen
   * behind by more than was published: so it is enough to look at everyone after
   * every so many bytes, well before the transport's hard limit would drop.
   */
  #sweep(): void {
    this.#sweepDue = undefined;
    this.#unsweptBytes = 0;
    for (const connection of this.#lossy) connection.closeSlow();
    this.#lossy.clear();
    for (const connection of this.connections.values()) connection.checkBuffered();
  }

  #userChannel(key: ChannelKey): LocalChannel | undefined {
    const mark = key.indexOf(USER_MARK);
    if (mark === -1 || key.indexOf("/") !== mark) return undefined;
    const group = this.#users.get(channelKey(key.slice(0, mark), key.slice(mark + USER_MARK.length)));
    if (group === undefined) return undefined;
    if (group.channel === undefined) {
      group.channel = new LocalChannel(key);
      for (const connection of group.connections) this.#attachUser(connection, group.channel);
    }
    return group.channel;
  }
}
