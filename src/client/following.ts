/** What the hooks of React and the composables of Vue have in common: each returns what ends it. */

import type { Client } from "./client.js";
import { watchPresence } from "./roster.js";
import type { Handler, Member, Removal, SubscribeOptions } from "./types.js";

export interface SubscriptionState {
  /** Whether the server holds it now. */
  readonly subscribed: boolean;
  /** Why it ended, where the server refused it or took it away. */
  readonly refusal: Removal | undefined;
}

/** Who is in a channel; see Roster. */
export interface PresenceState {
  readonly members: readonly Member[];
  readonly count: number | undefined;
}

export const NOT_SUBSCRIBED: SubscriptionState = { subscribed: false, refusal: undefined };
export const NOBODY: PresenceState = { members: [], count: undefined };

const nothing = (): void => undefined;

/**
 * A client that is closed is about to be replaced: nothing is subscribed with it.
 * @param options  asked for whenever there is something to tell
 */
export function followSubscription<Channels extends object, Name extends keyof Channels & string>(
  client: Client<Channels>,
  channel: Name,
  handler: Handler<Channels[Name], Name>,
  options: () => SubscribeOptions,
  changed: (state: SubscriptionState) => void,
): () => void {
  if (client.state === "closed") return nothing;
  // A refusal stands until the channel is subscribed to after all.
  let refused: SubscriptionState["refusal"];
  const held = () => changed({ subscribed: subscription.subscribed, refusal: refused });
  const { since } = options();
  const subscription = client.subscribe(channel, handler, {
    ...(since && { since }),
    onSubscribed: (subscribed) => {
      refused = undefined;
      changed({ subscribed: true, refusal: undefined });
      options().onSubscribed?.(subscribed);
    },
    onUnsubscribed: (refusal) => {
      refused = refusal;
      changed({ subscribed: false, refusal });
      options().onUnsubscribed?.(refusal);
    },
    onGap: (gap) => options().onGap?.(gap),
    onJoin: (change) => options().onJoin?.(change),
    onLeave: (change) => options().onLeave?.(change),
    onUpdate: (change) => options().onUpdate?.(change),
    onPresence: (presence) => options().onPresence?.(presence),
  });
  const unwatch = client.on("state", ({ state }) => {
    if (state === "waiting" || state === "closed") held();
  });
  // Another handler's subscription to the channel may be there already.
  held();
  return () => {
    unwatch();
    subscription.unsubscribe();
    changed(NOT_SUBSCRIBED);
  };
}

export function followPresence<Channels extends object>(
  client: Client<Channels>,
  channel: keyof Channels & string,
  changed: (state: PresenceState) => void,
): () => void {
  if (client.state === "closed") return nothing;
  const roster = watchPresence(client, channel, () => {
    changed({ members: roster.members, count: roster.count });
  });
  return () => {
    roster.stop();
    changed(NOBODY);
  };
}
