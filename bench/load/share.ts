/**
 * Which of the plan's connections and streams are a load process's own.
 *
 * A stream is one publisher's sequence in one channel. There are as many as channels or publishers, whichever are
 * more; stream s is in channel s mod channels. It lives in the process of its channel's first subscriber, which so
 * sees there how far it was delivered.
 */

import type { LoadPlan } from "./messages.js";

export interface SubscriberSpec {
  readonly channel: number;
  readonly url: string;
  /** Of the process's slots, the first of so many as the channel has streams. */
  readonly slot: number;
  readonly witness: boolean;
}

export interface StreamSpec {
  readonly stream: number;
  readonly channel: number;
  /** Which of the process's publishers sends it. */
  readonly publisher: number;
}

export interface Share {
  readonly subscribers: readonly SubscriberSpec[];
  readonly publisherUrls: readonly string[];
  readonly streams: readonly StreamSpec[];
  readonly streamsPerChannel: number;
}

export function channelName({ channelPrefix }: Pick<LoadPlan, "channelPrefix">, channel: number): string {
  return `${channelPrefix}${String(channel).padStart(5, "0")}`;
}

/** How many streams the plan has, and so how many sequences are counted. */
export function streamCount({ channels, publishers }: Pick<LoadPlan, "channels" | "publishers">): number {
  return publishers === 0 ? 0 : Math.max(channels, publishers);
}

export function shareOf(plan: LoadPlan, process: number, processes: number): Share {
  const total = streamCount(plan);
  const streamsPerChannel = Math.ceil(total / plan.channels);
  const slotsEach = Math.max(1, streamsPerChannel);
  const subscribers: SubscriberSpec[] = [];
  for (let channel = 0; channel < plan.channels; channel++) {
    for (let j = 0; j < plan.subscribersPerChannel; j++) {
      if ((channel + j) % processes !== process) continue;
      subscribers.push({
        channel,
        url: plan.subscriberUrls[(channel + j) % plan.subscriberUrls.length]!,
        slot: subscribers.length * slotsEach,
        witness: j === 0,
      });
    }
  }
  const own: number[] = [];
  for (let stream = 0; stream < total; stream++) {
    if ((stream % plan.channels) % processes === process) own.push(stream);
  }
  const publishers = Math.min(
    own.length,
    Math.max(1, Math.round((plan.publishers * own.length) / Math.max(1, total))),
  );
  return {
    subscribers,
    publisherUrls: Array.from(
      { length: publishers },
      (_, index) => plan.publisherUrls[(process + index) % plan.publisherUrls.length]!,
    ),
    streams: own.map((stream, index) => ({
      stream,
      channel: stream % plan.channels,
      publisher: index % publishers,
    })),
    streamsPerChannel,
  };
}
