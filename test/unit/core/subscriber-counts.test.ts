/** How many subscribers channels have: what is asked and told, and when. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LocalChannel, channelKey } from "../../../src/core/channel.js";
import { DEFAULT_RULES } from "../../../src/core/channel-rules.js";
import type { ControlBus, ControlCommand, ControlQuestion } from "../../../src/core/control.js";
import { silentLog } from "../../../src/core/log.js";
import { AppCounts } from "../../../src/core/stats.js";
import { SubscriberCounts } from "../../../src/core/subscriber-counts.js";

const RULES = { ...DEFAULT_RULES, tellsSubscriberCount: true };

function channelsOf(app: string, count: number): LocalChannel[] {
  const counts = new AppCounts();
  return Array.from(
    { length: count },
    (_, index) => new LocalChannel(channelKey(app, `room-${index}`), counts, RULES),
  );
}

interface Fleet {
  readonly counts: SubscriberCounts;
  /** Of every channel. */
  subscribers: number;
  readonly asked: Extract<ControlQuestion, { kind: "subscribers" }>[];
  readonly told: ControlCommand[];
}

/** A node alone. */
function start(channels: readonly LocalChannel[]): Fleet {
  const asked: Fleet["asked"] = [];
  const told: ControlCommand[] = [];
  const control: ControlBus = {
    start: () => Promise.resolve(),
    command(command) {
      if (command.kind !== "subscribers") throw new Error(`told ${command.kind}`);
      told.push(command);
      fleet.counts.told(command);
      return Promise.resolve();
    },
    ask(question) {
      if (question.kind !== "subscribers") throw new Error(`asked for ${question.kind}`);
      asked.push(question);
      const answer = { kind: question.kind, counts: question.channels.map(() => fleet.subscribers) };
      return Promise.resolve({ answers: [{ node: "a", answer }], missing: [] });
    },
    stop: () => Promise.resolve(),
  };
  const counts = new SubscriberCounts({
    control,
    channels: new Map(channels.map((channel) => [channel.key, channel])),
    fanOut: { notify: () => undefined },
    log: silentLog,
  });
  const fleet: Fleet = { counts, subscribers: 1, asked, told };
  return fleet;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("of each app are asked for together, in parts", async () => {
  const [shop, blog] = [channelsOf("shop", 501), channelsOf("blog", 2)];
  const { counts, asked, told } = start([...shop, ...blog]);
  for (const channel of [...shop, ...blog]) counts.changed(channel);
  await vi.advanceTimersByTimeAsync(100);
  expect(asked.map(({ app, channels }) => [app, channels.length])).toEqual([
    ["shop", 500],
    ["shop", 1],
    ["blog", 2],
  ]);
  expect(asked.flatMap(({ channels }) => channels).slice(0, 501)).toEqual(shop.map(({ name }) => name));
  expect(told).toHaveLength(3);
});

it("that change soon after one another are told once each", async () => {
  const [room] = channelsOf("shop", 1);
  const fleet = start([room!]);
  for (fleet.subscribers = 1; fleet.subscribers <= 3; fleet.subscribers++) {
    fleet.counts.changed(room!);
    await vi.advanceTimersByTimeAsync(300);
  }
  const app = { kind: "subscribers", app: "shop", channels: ["room-0"] };
  expect(fleet.told).toEqual([1, 2, 3].map((count) => ({ ...app, counts: [count] })));
});

it("are asked for again where another node tells something else meanwhile", async () => {
  const [room] = channelsOf("shop", 1);
  const fleet = start([room!]);
  fleet.counts.changed(room!);
  await vi.advanceTimersByTimeAsync(300);
  fleet.subscribers = 2;
  fleet.counts.told({ kind: "subscribers", app: "shop", channels: ["room-0"], counts: [7] });
  await vi.advanceTimersByTimeAsync(300);
  expect(fleet.told.at(-1)).toMatchObject({ counts: [2] });
  expect(fleet.asked).toHaveLength(2);
});

it("of very many channels hold nobody up when another node is gone", async () => {
  const { counts, asked } = start(channelsOf("shop", 100_000));
  const before = process.cpuUsage();
  counts.changedAnywhere();
  await vi.advanceTimersByTimeAsync(100);
  expect(asked).toHaveLength(200);
  // It took 40 s where the list of names was copied for each of them.
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(5);
});
