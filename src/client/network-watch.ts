/** What the platform tells of the network: a browser's pages and workers. Node and React Native tell nothing. */

/** online: there is a network again. perhaps: it may be another, or may have been lost while nobody looked. */
export type NetworkNews = "online" | "perhaps";

/** @returns what ends the watch */
export function watchNetwork(told: (news: NetworkNews) => void): () => void {
  const scope = globalThis as typeof globalThis & { document?: Document };
  const { document } = scope;
  const { connection } = (scope.navigator ?? {}) as {
    connection?: EventTarget & { type?: string; effectiveType?: string };
  };
  const kind = () => connection?.type ?? connection?.effectiveType;
  let before = kind();
  const online = () => told("online");
  const perhaps = () => {
    if (document?.visibilityState !== "hidden") told("perhaps");
  };
  // It also tells of new estimates of a network that is the same.
  const another = () => {
    if (kind() === before) return;
    before = kind();
    perhaps();
  };
  const heard: [EventTarget | undefined, string, () => void][] = [
    [scope, "online", online],
    [scope, "offline", perhaps],
    [document, "visibilitychange", perhaps],
    [connection, "change", another],
  ];
  // React Native has a window and a navigator that tell no events.
  const there = heard.filter(
    ([target]) =>
      typeof target?.addEventListener === "function" && typeof target.removeEventListener === "function",
  );
  for (const [target, name, listener] of there) target!.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of there) target!.removeEventListener(name, listener);
  };
}
