/** React 18 and later: hooks over a client. On a server they do nothing, and they bear StrictMode's second mount. */

import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
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

/**
 * Connects while the component is mounted, and anew for another URL.
 * @param options  as they are when it connects
 * @returns undefined on a server and in the first render: the other hooks then wait for it
 */
export function useClient<Channels extends object = Record<string, unknown>>(
  url: string,
  options?: ConnectOptions,
): Client<Channels> | undefined {
  const [client, setClient] = useState<Client<Channels>>();
  const latest = useLatest(options);
  useEffect(() => {
    const own = connect<Channels>(url, latest.current);
    setClient(own);
    return () => {
      own.close();
      setClient(undefined);
    };
  }, [url, latest]);
  return client;
}

/** How the client's connection is: "connecting" without a client. */
export function useConnectionState<Channels extends object>(client: Client<Channels> | undefined): State {
  const subscribe = useMemo(
    () => (changed: () => void) => (client === undefined ? () => undefined : client.on("state", changed)),
    [client],
  );
  const state = (): State => client?.state ?? "connecting";
  return useSyncExternalStore(subscribe, state, () => "connecting");
}

/** Subscribes while the component is mounted. Handler and listeners may be others in each render, `since` not. */
export function useSubscription<Channels extends object, Name extends keyof Channels & string>(
  client: Client<Channels> | undefined,
  channel: Name | undefined,
  handler: Handler<Channels[Name], Name>,
  options: SubscribeOptions = {},
): SubscriptionState {
  const [state, setState] = useState(NOT_SUBSCRIBED);
  const latest = useLatest({ handler, options });
  useEffect(() => {
    if (client === undefined || channel === undefined) return;
    const handle: typeof handler = (message) => latest.current.handler(message);
    return followSubscription(client, channel, handle, () => latest.current.options, setState);
  }, [client, channel, latest]);
  return state;
}

/** Keeps the list of who is in a channel, where its rules have `presence` and `joinLeave`. */
export function usePresence<Channels extends object>(
  client: Client<Channels> | undefined,
  channel: (keyof Channels & string) | undefined,
): PresenceState {
  const [state, setState] = useState(NOBODY);
  useEffect(() => {
    if (client === undefined || channel === undefined) return;
    return followPresence(client, channel, setState);
  }, [client, channel]);
  return state;
}

/** What the last render that was shown was given, for what runs later. */
function useLatest<Value>(value: Value): { readonly current: Value } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}
