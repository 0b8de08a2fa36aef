/** Vue 3.3 and later: composables over a client. On a server they do nothing; they end with their component or scope. */

import {
  getCurrentInstance,
  onMounted,
  onScopeDispose,
  shallowRef,
  toValue,
  watch,
  type MaybeRefOrGetter,
  type ShallowRef,
} from "vue";
import { connect, type Client } from "./client.js";
import {
  NOBODY,
  NOT_SUBSCRIBED,
  followPresence,
  followSubscription,
  type PresenceState,
  type SubscriptionState,
} from "./following.js";
import type { ConnectOptions, Handler, State, SubscribeOptions } from "./types.js";

export type { PresenceState, SubscriptionState } from "./following.js";

type MaybeClient<Channels extends object> = MaybeRefOrGetter<Client<Channels> | undefined>;

/**
 * Connects when the component is mounted, or at once in a scope without one; closes with either. Another URL connects anew.
 * @returns undefined on a server and before the mount: the other composables then wait for it
 */
export function useClient<Channels extends object = Record<string, unknown>>(
  url: MaybeRefOrGetter<string>,
  options?: ConnectOptions,
): Readonly<ShallowRef<Client<Channels> | undefined>> {
  const client = shallowRef<Client<Channels>>();
  const mounted = shallowRef(getCurrentInstance() === null);
  if (!mounted.value) onMounted(() => (mounted.value = true));
  follow(
    () => (mounted.value ? toValue(url) : undefined),
    (wanted) => {
      const own = connect<Channels>(wanted, options);
      client.value = own;
      return () => {
        own.close();
        client.value = undefined;
      };
    },
  );
  return client;
}

/** How the client's connection is: "connecting" without a client. */
export function useConnectionState<Channels extends object>(
  client: MaybeClient<Channels>,
): Readonly<ShallowRef<State>> {
  const state = shallowRef<State>("connecting");
  follow(
    () => toValue(client),
    (own) => {
      state.value = own.state;
      const unwatch = own.on("state", (change) => (state.value = change.state));
      return () => {
        unwatch();
        state.value = "connecting";
      };
    },
  );
  return state;
}

/** Subscribes while component or scope live; to another channel where it changes. */
export function useSubscription<Channels extends object, Name extends keyof Channels & string>(
  client: MaybeClient<Channels>,
  channel: MaybeRefOrGetter<Name | undefined>,
  handler: Handler<Channels[Name], Name>,
  options: SubscribeOptions = {},
): Readonly<ShallowRef<SubscriptionState>> {
  const state = shallowRef(NOT_SUBSCRIBED);
  followBoth(client, channel, (own, name) =>
    followSubscription(
      own,
      name,
      handler,
      () => options,
      (now) => (state.value = now),
    ),
  );
  return state;
}

/** Keeps the list of who is in a channel, where its rules have `presence` and `joinLeave`. */
export function usePresence<Channels extends object>(
  client: MaybeClient<Channels>,
  channel: MaybeRefOrGetter<(keyof Channels & string) | undefined>,
): Readonly<ShallowRef<PresenceState>> {
  const state = shallowRef(NOBODY);
  followBoth(client, channel, (own, name) => followPresence(own, name, (now) => (state.value = now)));
  return state;
}

function followBoth<Channels extends object, Name extends string>(
  client: MaybeClient<Channels>,
  channel: MaybeRefOrGetter<Name | undefined>,
  start: (client: Client<Channels>, channel: Name) => () => void,
): void {
  // A pair is new each time: started anew is only where one of the two is another.
  let last: readonly [Client<Channels>, Name] | undefined;
  follow(
    () => {
      const [own, name] = [toValue(client), toValue(channel)];
      if (own === undefined || name === undefined) return (last = undefined);
      if (last?.[0] !== own || last[1] !== name) last = [own, name];
      return last;
    },
    ([own, name]) => start(own, name),
  );
}

/** Starts for each value that is not undefined, and ends what was started for the one before. */
function follow<Value>(source: () => Value | undefined, start: (value: Value) => () => void): void {
  let stop = (): void => undefined;
  const end = (): void => {
    stop();
    stop = () => undefined;
  };
  watch(
    source,
    (value) => {
      end();
      if (value !== undefined) stop = start(value);
    },
    { immediate: true },
  );
  onScopeDispose(end);
}
