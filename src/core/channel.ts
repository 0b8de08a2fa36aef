import { setBounded } from "../protocol/bounded-map.js";
import { CODECS } from "../protocol/codecs.js";
import type { ChannelKey } from "./broker.js";
import type { ChannelFeed } from "./channel-feed.js";
import { DEFAULT_RULES, type ChannelRules } from "./channel-rules.js";

/** The application of every channel and connection, as long as a node serves one. */
export const DEFAULT_APP = "main";

/** Keys of one application: their hashes are known, where a new string's would be computed. */
const keys = new Map<string, ChannelKey>();
let keysApp = "";
const KEYS_KEPT = 4_096;

export function channelKey(app: string, name: string): ChannelKey {
  if (app !== keysApp) {
    keys.clear();
    keysApp = app;
  }
  return keys.get(name) ?? setBounded(keys, KEYS_KEPT, name, `${app}/${name}`);
}

/** @returns the application and the name that a key was made of */
export function splitChannelKey(key: ChannelKey): { app: string; name: string } {
  const slash = key.indexOf("/");
  return { app: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** A channel with subscribers on this node. */
export class LocalChannel {
  readonly key: ChannelKey;
  readonly name: string;
  /** One list for all who hold this channel alone, as most connections hold one. */
  readonly nameAlone: readonly string[];
  readonly rules: ChannelRules;
  /** Topics by codec, in the order of CODECS. */
  readonly topics: readonly string[];
  readonly #heads: (Uint8Array | undefined)[] = [];
  /** Subscribers by codec, in the order of CODECS. */
  readonly subscribers: number[];
  /** Handed to its topics since everyone was last looked at, as of that look; fan-out's own. */
  unsweptBytes = 0;
  unsweptSince = 0;
  /** Delivers in order and fills holes, where the channel keeps history. */
  feed: ChannelFeed | undefined;
  /** Connections that join, or were skipped and will again: they keep the channel alive. */
  joining = 0;
  /** Resolves once the bus delivers this channel here; undefined: it does. */
  ready: Promise<void> | undefined;

  constructor(key: ChannelKey, rules: ChannelRules = DEFAULT_RULES) {
    this.key = key;
    this.rules = rules;
    this.name = splitChannelKey(key).name;
    this.nameAlone = [this.name];
    this.topics = CODECS.map((codec) => topicOf(codec.topicPrefix, key));
    this.subscribers = CODECS.map(() => 0);
  }

  /** What its publications begin with in one of CODECS. */
  head(codecIndex: number): Uint8Array {
    return (this.#heads[codecIndex] ??= CODECS[codecIndex]!.head(this.name));
  }

  get subscriberCount(): number {
    let count = 0;
    for (const subscribers of this.subscribers) count += subscribers;
    return count;
  }
}

/**
 * In ASCII: uWebSockets.js for Node 22 and later subscribes to a text that V8 holds as Latin-1 by those bytes, and
 * publishes to it by its UTF-8. No name of one kind is one of the other: a key in ASCII stands behind a slash.
 */
function topicOf(prefix: string, key: ChannelKey): string {
  return Buffer.byteLength(key) === key.length ? `${prefix}/${key}` : `${prefix}%${encodeURIComponent(key)}`;
}
