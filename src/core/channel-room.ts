/** Room for channels on a connection, by number and by the bytes of their names: these bound what its session costs. */

import { CHANNEL_NAME_MAX } from "./channel-name.js";
import type { LocalChannel } from "./channel.js";
import * as smallSet from "./small-set.js";
import type { EdgeOptions } from "./options.js";

export class ChannelRoom {
  readonly #options: EdgeOptions;
  readonly #channels: smallSet.SmallSet<LocalChannel>;
  #count: number;
  /** Of the names of those taken here. */
  #takenBytes = 0;

  /** @param channels  that the connection has, until the last is taken */
  constructor(options: EdgeOptions, channels: smallSet.SmallSet<LocalChannel>) {
    this.#options = options;
    this.#channels = channels;
    this.#count = smallSet.size(channels);
  }

  /** Takes room for one more. @returns why there is none, or undefined */
  take(channel: string): string | undefined {
    const { maxChannelsPerConnection, maxChannelNameBytes } = this.#options;
    if (this.#count >= maxChannelsPerConnection) {
      return `channel limit reached (maxChannelsPerConnection ${maxChannelsPerConnection}): unsubscribe from some`;
    }
    // Few connections have so many channels that their names must be added up.
    if ((this.#count + 1) * CHANNEL_NAME_MAX > maxChannelNameBytes) {
      const bytes = this.#heldBytes() + this.#takenBytes + channel.length;
      if (bytes > maxChannelNameBytes) {
        return `channel name limit reached (${bytes} bytes of all names together, maxChannelNameBytes ${maxChannelNameBytes}): unsubscribe from some`;
      }
    }
    this.#count++;
    this.#takenBytes += channel.length;
    return undefined;
  }

  #heldBytes(): number {
    let bytes = 0;
    for (const { name } of smallSet.items(this.#channels)) bytes += name.length;
    return bytes;
  }
}
