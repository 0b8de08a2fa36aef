/** Which connections of this node are which user's, and the channel `#user:` that reaches them. */

import { LocalChannel, channelKey } from "./channel.js";
import type { ChannelKey } from "./broker.js";
import type { Connection } from "./connection.js";

interface UserGroup {
  readonly connections: Set<Connection>;
  /** Made by the first publication to the user, as few get any. */
  channel: LocalChannel | undefined;
}

const USER_MARK = "/#user:";

export class Users {
  readonly #groups = new Map<string, UserGroup>();

  /** The connection's identity became known or changed. */
  identify(connection: Connection, userId: string | null): void {
    if (connection.userId === userId) return;
    this.forget(connection);
    connection.userId = userId;
    if (userId === null) return;
    const key = channelKey(connection.app, userId);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { connections: new Set(), channel: undefined };
      this.#groups.set(key, group);
    }
    group.connections.add(connection);
    if (group.channel !== undefined) attach(connection, group.channel);
  }

  forget(connection: Connection): void {
    if (connection.userId === null) return;
    const key = channelKey(connection.app, connection.userId);
    const group = this.#groups.get(key);
    if (group === undefined || !group.connections.delete(connection)) return;
    if (group.channel !== undefined) {
      group.channel.subscribers[connection.codecIndex]!--;
      connection.socket.unsubscribe(group.channel.topics[connection.codecIndex]!);
    }
    if (group.connections.size === 0) this.#groups.delete(key);
  }

  connections(app: string, userId: string): readonly Connection[] {
    return [...(this.#groups.get(channelKey(app, userId))?.connections ?? [])];
  }

  /** The channel of a key `app/#user:42`, if any of the user's connections is here. */
  channel(key: ChannelKey): LocalChannel | undefined {
    const mark = key.indexOf(USER_MARK);
    if (mark === -1 || key.indexOf("/") !== mark) return undefined;
    const group = this.#groups.get(channelKey(key.slice(0, mark), key.slice(mark + USER_MARK.length)));
    if (group === undefined) return undefined;
    if (group.channel === undefined) {
      group.channel = new LocalChannel(key);
      for (const connection of group.connections) attach(connection, group.channel);
    }
    return group.channel;
  }

  hears(connection: Connection, channel: LocalChannel): boolean {
    if (connection.userId === null) return false;
    return this.#groups.get(channelKey(connection.app, connection.userId))?.channel === channel;
  }
}

function attach(connection: Connection, channel: LocalChannel): void {
  channel.subscribers[connection.codecIndex]!++;
  connection.socket.subscribe(channel.topics[connection.codecIndex]!);
}
