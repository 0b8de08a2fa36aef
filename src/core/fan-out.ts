/**
 * Delivery to the subscribers of one channel on this node. Fan-out itself is the
 * transport's: a message costs one encoding and one native call per framing,
 * however many subscribers there are.
 */

import type { BusPublication } from "./broker.js";
import type { ChannelTopic, LocalChannel } from "./channel.js";
import type { Connection } from "./connection.js";
import type { ChannelNotice } from "./notices.js";
import type { Publication } from "./publication.js";
import type { Stats } from "./stats.js";

/** A connection whose client counts offsets would take what it is not sent for a loss. */
export function obeysExclusion({ served }: Connection, { position }: Publication): boolean {
  return position === undefined || !served.framing.positions;
}

const NOBODY: readonly Connection[] = [];

export class FanOut {
  readonly #stats: Stats;
  readonly #bytesDue: number;
  readonly #mostChannels: () => number;
  readonly #due: () => void;
  /** Handed to topics since everyone was last looked at: of all channels, and of the one that had most. */
  #bytes = 0;
  #mostBytes = 0;
  /** Counts the looks: a channel's own count is of the one that it names. */
  #sweeps = 0;
  /** 0: not known in this turn. */
  #nowMs = 0;
  readonly #forgetNow = (): void => void (this.#nowMs = 0);

  /** `due` is called before any connection can have been sent more than `bytesDue` bytes by topics since the last call. */
  constructor(options: {
    stats: Stats;
    bytesDue: number;
    /** At least as many as any connection hears. */
    mostChannels: () => number;
    due: () => void;
  }) {
    this.#stats = options.stats;
    this.#bytesDue = options.bytesDue;
    this.#mostChannels = options.mostChannels;
    this.#due = options.due;
  }

  publish(channel: LocalChannel, publication: BusPublication, excluded: Connection | undefined): void {
    const spared = excluded === undefined || !obeysExclusion(excluded, publication) ? undefined : excluded;
    for (const topic of channel.topics) {
      if (topic.subscribers === 0) continue;
      const { framing, topics } = topic.served;
      const frame = framing.publication(topic.head, publication);
      let receivers = topic.subscribers;
      if (spared !== undefined && spared.served === topic.served) {
        receivers--;
        spared.publishToOthers(topic.name, frame, framing.binary);
      } else {
        topics.publish(topic.name, frame, framing.binary);
      }
      channel.counts.deliveries += receivers;
      this.#count(channel, topic, receivers, frame.length);
    }
    this.#stats.publicationsDelivered++;
    this.#stats.deliverySeconds.observe(Math.max(0, this.#now() - publication.publishedAtMs) / 1000);
  }

  /**
   * What the server itself has to say to a channel's subscribers.
   * @param own  on its topics, of the user of whom it tells: left out where their protocol tells nobody of itself
   */
  notify(channel: LocalChannel, notice: ChannelNotice, own: readonly Connection[] = NOBODY): void {
    for (const topic of channel.topics) {
      if (topic.subscribers === 0) continue;
      const { framing, topics } = topic.served;
      const frame = framing.notice(channel.name, notice);
      if (frame === undefined) continue;
      const spared = framing.tellsUserOfItself ? NOBODY : own.filter(({ served }) => served === topic.served);
      // A topic is published to past one socket at most, and a user may have several here.
      for (const connection of spared) connection.leaveTopic(channel);
      topics.publish(topic.name, frame, framing.binary);
      this.#count(channel, topic, topic.subscribers, frame.length);
      for (const connection of spared) connection.joinTopic(channel);
    }
  }

  /** A batch's publications are handed out in one go: one look at the clock is enough for all of them. */
  #now(): number {
    if (this.#nowMs === 0) {
      this.#nowMs = Date.now();
      queueMicrotask(this.#forgetNow);
    }
    return this.#nowMs;
  }

  #count(channel: LocalChannel, { served }: ChannelTopic, receivers: number, frameBytes: number): void {
    const { counts } = served;
    counts.messagesOut += receivers;
    counts.bytesOut += receivers * frameBytes;
    this.#bytes += frameBytes;
    if (channel.unsweptSince !== this.#sweeps) {
      channel.unsweptSince = this.#sweeps;
      channel.unsweptBytes = 0;
    }
    channel.unsweptBytes += frameBytes;
    if (channel.unsweptBytes > this.#mostBytes) this.#mostBytes = channel.unsweptBytes;
    // Nobody can have got more than all channels together, nor more than its channels had of the one that had most.
    if (this.#bytes < this.#bytesDue || this.#mostBytes * this.#mostChannels() < this.#bytesDue) return;
    this.#bytes = 0;
    this.#mostBytes = 0;
    this.#sweeps++;
    this.#due();
  }
}
