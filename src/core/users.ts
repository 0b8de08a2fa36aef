/** Which connections of this node are which user's, and the channel `#user:` that reaches them. */

import { LocalChannel, channelKey } from "./channel.js";
import type { ChannelKey } from "./broker.js";
import type { Connection } from "./connection.js";
import { SmallSet } from "./small-set.js";

const USER_MARK = "/#user:";

export class Users {
  /** By application and user. */
  readonly #apps = new Map<string, Map<string, SmallSet<Connection>>>();
  /** Of users that were published to, as few are. */
  readonly #channels = new Map<ChannelKey, LocalChannel>();

  /** The connection's identity became known or changed. */
  identify(connection: Connection, userId: string | null): void {
    if (connection.userId === userId) return;
    this.forget(connection);
    connection.userId = userId;
    if (userId === null) return;
    let users = this.#apps.get(connection.app);
    if (users === undefined) {
      users = new Map();
      this.#apps.set(connection.app, users);
    }
    let connections = users.get(userId);
    if (connections === undefined) {
      connections = new SmallSet();
      users.set(userId, connections);
    }
    connections.add(connection);
    const channel = this.#channelOf(connection.app, userId);
    if (channel !== undefined) attach(connection, channel);
  }

  forget(connection: Connection): void {
    const { app, userId } = connection;
    if (userId === null) return;
    const users = this.#apps.get(app);
    const connections = users?.get(userId);
    if (users === undefined || connections?.delete(connection) !== true) return;
    const channel = this.#channelOf(app, userId);
    if (channel !== undefined) {
      channel.subscribers[connection.codecIndex]!--;
      connection.socket.unsubscribe(channel.topics[connection.codecIndex]!);
    }
    if (connections.size > 0) return;
    users.delete(userId);
    if (channel !== undefined) this.#channels.delete(channel.key);
  }

  connections(app: string, userId: string): readonly Connection[] {
    return [...(this.#apps.get(app)?.get(userId) ?? [])];
  }

  /** The channel of a key `app/#user:42`, if any of the user's connections is here. */
  channel(key: ChannelKey): LocalChannel | undefined {
    const known = this.#channels.get(key);
    if (known !== undefined) return known;
    const mark = key.indexOf(USER_MARK);
    if (mark === -1 || key.indexOf("/") !== mark) return undefined;
    const connections = this.#apps.get(key.slice(0, mark))?.get(key.slice(mark + USER_MARK.length));
    if (connections === undefined) return undefined;
    const channel = new LocalChannel(key);
    this.#channels.set(key, channel);
    for (const connection of connections) attach(connection, channel);
    return channel;
  }

  hears(connection: Connection, channel: LocalChannel): boolean {
    if (connection.userId === null) return false;
    return this.#channelOf(connection.app, connection.userId) === channel;
  }

  #channelOf(app: string, userId: string): LocalChannel | undefined {
    // Names are put together only where there is something to find.
    if (this.#channels.size === 0) return undefined;
    return this.#channels.get(channelKey(app, `#user:${userId}`));
  }
}

function attach(connection: Connection, channel: LocalChannel): void {
  channel.subscribers[connection.codecIndex]!++;
  connection.socket.subscribe(channel.topics[connection.codecIndex]!);
}
