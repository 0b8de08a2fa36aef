import type { ChannelKey } from "./broker.js";
import type { ChannelFeed } from "./channel-feed.js";
import { DEFAULT_RULES, type ChannelRules } from "./channel-rules.js";
import type { FramingInUse } from "./framing.js";
import type { AppCounts } from "./stats.js";

export function channelKey(app: string, name: string): ChannelKey {
  return `${app}/${name}`;
}

/** @returns the application and the name that a key was made of */
export function splitChannelKey(key: ChannelKey): { app: string; name: string } {
  const slash = key.indexOf("/");
  return { app: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The subscribers of a channel on this node that share a framing: a topic of the transport. */
export class ChannelTopic {
  readonly served: FramingInUse;
  readonly name: string;
  subscribers = 0;
  readonly #channelName: string;
  #head: Uint8Array | undefined;

  constructor(served: FramingInUse, channel: LocalChannel) {
    this.served = served;
    this.name = topicName(served.framing.topicPrefix, channel.key);
    this.#channelName = channel.name;
  }

  /** What the channel's publications begin with. */
  get head(): Uint8Array {
    return (this.#head ??= this.served.framing.head(this.#channelName));
  }
}

/** A channel with subscribers on this node. */
export class LocalChannel {
  readonly key: ChannelKey;
  readonly name: string;
  /** One list for all who hold this channel alone, as most connections hold one. */
  readonly nameAlone: readonly string[];
  readonly rules: ChannelRules;
  /** Of its app. */
  readonly counts: AppCounts;
  /** One for each framing that had subscribers. */
  readonly topics: ChannelTopic[] = [];
  /** Handed to its topics since everyone was last looked at, as of that look; fan-out's own. */
  unsweptBytes = 0;
  unsweptSince = 0;
  /** Delivers in order and fills holes, where the channel keeps history. */
  feed: ChannelFeed | undefined;
  /** Connections that join: they keep the channel alive. */
  joining = 0;
  /** Subscribers that are off their topic while they read what waits for them. */
  skipped = 0;
  /** Resolves once the bus delivers this channel here; undefined: it does. */
  ready: Promise<void> | undefined;

  constructor(key: ChannelKey, counts: AppCounts, rules: ChannelRules = DEFAULT_RULES) {
    this.key = key;
    this.counts = counts;
    this.rules = rules;
    this.name = splitChannelKey(key).name;
    this.nameAlone = [this.name];
  }

  topic(served: FramingInUse): ChannelTopic {
    for (const topic of this.topics) if (topic.served === served) return topic;
    const topic = new ChannelTopic(served, this);
    this.topics.push(topic);
    return topic;
  }

  get subscriberCount(): number {
    let count = this.skipped;
    for (const { subscribers } of this.topics) count += subscribers;
    return count;
  }
}

/**
 * In ASCII: uWebSockets.js for Node 22 and later subscribes to a text that V8 holds as Latin-1 by those bytes, and
 * publishes to it by its UTF-8. No name of one kind is one of the other: a key in ASCII stands behind a slash.
 */
function topicName(prefix: string, key: ChannelKey): string {
  return Buffer.byteLength(key) === key.length ? `${prefix}/${key}` : `${prefix}%${encodeURIComponent(key)}`;
}
