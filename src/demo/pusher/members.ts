/** Who is here, from the presence channel beside the room. */

import { fitName } from "../name.js";
import { startRoster, type Shown } from "../roster.js";
import { toast } from "../toasts.js";
import type { PresenceChannel, Pusher } from "./pusher-js.js";

export interface Members {
  /** The channel of now. */
  readonly channel: PresenceChannel;
  nameOf(user: string): string | undefined;
  /** Comes anew, by another name. */
  introduce(): void;
  /** Binds again whenever the channel is another. */
  each(bind: (channel: PresenceChannel) => void): void;
}

interface Member {
  readonly id: string;
  readonly info: { readonly name?: unknown } | null;
}

export function startMembers(pusher: Pusher, name: string): Members {
  const roster = startRoster();
  const bindings: ((channel: PresenceChannel) => void)[] = [];
  /** Who one was by another name: the node tells some seconds later that they are gone. */
  const past = new Set<string>();
  let channel = join();

  function join(): PresenceChannel {
    const joined = pusher.subscribe(name) as PresenceChannel;
    const show = (): void => {
      const shown: Shown[] = [];
      joined.members.each(({ id, info }: Member) => {
        if (!past.has(id)) shown.push({ name: nameIn(info), own: id === joined.members.myID, title: id });
      });
      roster.show(shown, shown.length);
      roster.stale(false);
    };
    for (const event of ["pusher:subscription_succeeded", "pusher:member_added", "pusher:member_removed"])
      joined.bind(event, show);
    joined.bind("pusher:subscription_error", ({ error, status }: { error?: string; status?: number }) => {
      toast(`Not in ${name}`, error ?? `HTTP ${String(status)}`);
    });
    return joined;
  }

  pusher.connection.bind("state_change", ({ current }: { current: string }) => {
    roster.stale(current !== "connected");
  });
  return {
    get channel() {
      return channel;
    },
    nameOf: (user) => nameIn((channel.members.get(user) as Member | null)?.info),
    introduce() {
      past.add(String(channel.members.myID));
      channel.unbind_all();
      pusher.unsubscribe(name);
      channel = join();
      for (const bind of bindings) bind(channel);
    },
    each(bind) {
      bindings.push(bind);
      bind(channel);
    },
  };
}

function nameIn(info: Member["info"] | undefined): string | undefined {
  return typeof info?.name === "string" && info.name.trim() !== "" ? fitName(info.name) : undefined;
}
