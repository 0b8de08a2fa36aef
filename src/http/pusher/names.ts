/** Names of channels and users as the API takes them. */

import {
  checkName,
  checkUserId,
  isName,
  ownName,
  userOfServerChannel,
} from "../../protocols/pusher/channels.js";
import type { PusherSettings } from "../../protocols/pusher/settings.js";

/** @returns as the node calls it @throws StarlingError bad_channel, bad_request */
export function checkedChannel(name: string, { maxChannelNameBytes }: PusherSettings): string {
  const user = userOfServerChannel(name);
  if (user !== undefined) {
    checkUserId(user);
    return ownName(name);
  }
  // Not too_large, which would be 413: that is of data.
  checkName(name, maxChannelNameBytes, "bad_channel");
  return name;
}

/** Whether Pusher's clients could use a channel of the node. */
export function isPusherName(name: string, { maxChannelNameBytes }: PusherSettings): boolean {
  return isName(name, maxChannelNameBytes);
}
