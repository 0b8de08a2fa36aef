import { describe, expect, it } from "vitest";
import type { LoadPlan } from "../../../bench/load/messages.js";
import { shareOf, streamCount } from "../../../bench/load/share.js";

const plan = (shape: Partial<LoadPlan>): LoadPlan => ({
  protocol: "starling-json",
  subscriberUrls: ["ws://a", "ws://b"],
  publisherUrls: ["ws://a"],
  channelPrefix: "c",
  channels: 1,
  subscribersPerChannel: 1,
  publishers: 1,
  connectRate: 0,
  connecting: 10,
  payloadBytes: 64,
  acknowledged: false,
  sources: 1,
  headers: {},
  ...shape,
});

describe("the shares of the load processes", () => {
  it.each([
    { channels: 1, subscribersPerChannel: 7, publishers: 3 },
    { channels: 10, subscribersPerChannel: 3, publishers: 4 },
    { channels: 5, subscribersPerChannel: 1, publishers: 12 },
    { channels: 3, subscribersPerChannel: 2, publishers: 0 },
  ])("make up the whole, each stream beside its witness: %o", (shape) => {
    const whole = plan(shape);
    for (const processes of [1, 2, 3]) {
      const shares = Array.from({ length: processes }, (_, index) => shareOf(whole, index, processes));
      expect(shares.flatMap(({ subscribers }) => subscribers)).toHaveLength(
        shape.channels * shape.subscribersPerChannel,
      );
      const streams = shares
        .flatMap((share) => share.streams.map(({ stream }) => stream))
        .sort((a, b) => a - b);
      expect(streams).toEqual(Array.from({ length: streamCount(whole) }, (_, stream) => stream));
      for (const share of shares) {
        const witnessed = share.subscribers.filter(({ witness }) => witness).map(({ channel }) => channel);
        for (const { channel, publisher } of share.streams) {
          expect(witnessed).toContain(channel);
          expect(publisher).toBeLessThan(share.publisherUrls.length);
        }
        const slots = share.subscribers.map(({ slot }) => slot);
        expect(new Set(slots).size).toBe(slots.length);
      }
    }
  });

  it("spread each channel over the servers", () => {
    const { subscribers } = shareOf(plan({ channels: 4, subscribersPerChannel: 2 }), 0, 1);
    for (const channel of [0, 1, 2, 3]) {
      const urls = subscribers.filter((each) => each.channel === channel).map(({ url }) => url);
      expect(new Set(urls)).toEqual(new Set(["ws://a", "ws://b"]));
    }
  });
});
