/** What the page's own address asks for. */

export interface Wishes {
  /** Nodes to connect to; the page's own unless `?node=` names others. */
  readonly urls: readonly string[];
  readonly channel: string;
  /** From the fragment, which browsers send nowhere. */
  readonly token: string | undefined;
}

const DEFAULT_CHANNEL = "chat:lobby";
const OWN_NODE = "/";

/** @throws Error showing the part of the address that cannot be used */
export function readAddress({ search, hash }: { search: string; hash: string }): Wishes {
  const query = new URLSearchParams(search);
  const nodes = (query.get("node") ?? "").split(",").filter((node) => node.trim() !== "");
  return {
    urls: nodes.length === 0 ? [OWN_NODE] : nodes.map(nodeUrl),
    channel: query.get("channel") || DEFAULT_CHANNEL,
    token: new URLSearchParams(hash.slice(1)).get("token") ?? undefined,
  };
}

function nodeUrl(text: string): string {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  if (url?.protocol === "ws:" || url?.protocol === "wss:") return url.href;
  throw new Error(`?node=${text} is not the address of a node: it must start with ws:// or wss://`);
}

/** For a window beside this page: where there are several nodes, on the next one. */
export function addressBeside(here: string): string {
  const url = new URL(here);
  const [first, ...others] = (url.searchParams.get("node") ?? "").split(",");
  if (others.length > 0) url.searchParams.set("node", [...others, first].join(","));
  return url.href;
}

/** So that a reload, or whoever gets the link, is in the same channel. */
export function rememberChannel(channel: string): void {
  const url = new URL(location.href);
  url.searchParams.set("channel", channel);
  history.replaceState(null, "", url);
}
