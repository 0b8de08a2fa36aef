/** Which connections of this node are which user's, and the channel `#user:` that reaches them. */

import type { App } from "./app.js";
import { LocalChannel } from "./channel.js";
import type { ChannelKey } from "./broker.js";
import type { Identity } from "./authorizer.js";
import type { Connection } from "./connection.js";
import * as smallSet from "./small-set.js";

const USER_MARK = "/#user:";

export class Users {
  /** By application and user. */
  readonly #apps = new Map<string, Map<string, smallSet.SmallSet<Connection>>>();
  /** Of users that were published to, as few are. */
  readonly #channels = new Map<ChannelKey, LocalChannel>();

  /** Gives a connection its identity, the first or another one. */
  identify(connection: Connection, identity: Identity): void {
    const { userId } = identity;
    const same = connection.userId === userId;
    if (!same) this.forget(connection);
    connection.identity = identity;
    if (same || userId === null) return;
    let users = this.#apps.get(connection.app.id);
    if (users === undefined) {
      users = new Map();
      this.#apps.set(connection.app.id, users);
    }
    users.set(userId, smallSet.add(users.get(userId), connection));
    const channel = this.#channelOf(connection.app, userId);
    if (channel !== undefined) connection.joinTopic(channel);
  }

  forget(connection: Connection): void {
    const { app, userId } = connection;
    if (userId === null) return;
    const users = this.#apps.get(app.id);
    const connections = users?.get(userId);
    if (users === undefined || !smallSet.has(connections, connection)) return;
    const channel = this.#channelOf(app, userId);
    if (channel !== undefined) connection.leaveTopic(channel);
    const left = smallSet.remove(connections, connection);
    if (left !== undefined) {
      users.set(userId, left);
      return;
    }
    users.delete(userId);
    if (channel !== undefined) this.#channels.delete(channel.key);
  }

  connections(app: string, userId: string): readonly Connection[] {
    return [...smallSet.items(this.#apps.get(app)?.get(userId))];
  }

  /** The channel of a key `app/#user:42`, if any of the user's connections is here. */
  channel(key: ChannelKey): LocalChannel | undefined {
    const known = this.#channels.get(key);
    if (known !== undefined) return known;
    const mark = key.indexOf(USER_MARK);
    if (mark === -1 || key.indexOf("/") !== mark) return undefined;
    const connections = this.#apps.get(key.slice(0, mark))?.get(key.slice(mark + USER_MARK.length));
    if (connections === undefined) return undefined;
    const [first] = smallSet.items(connections);
    const channel = new LocalChannel(key, first!.app.counts);
    this.#channels.set(key, channel);
    for (const connection of smallSet.items(connections)) connection.joinTopic(channel);
    return channel;
  }

  includes(connection: Connection, channel: LocalChannel): boolean {
    if (connection.userId === null) return false;
    return this.#channelOf(connection.app, connection.userId) === channel;
  }

  #channelOf(app: App, userId: string): LocalChannel | undefined {
    // Names are put together only where there is something to find.
    if (this.#channels.size === 0) return undefined;
    return this.#channels.get(app.keyOf(`#user:${userId}`));
  }
}
