/** How many subscribers channels have over all nodes, and telling them where the channels' rules say so. */

import type { ChannelKey } from "./broker.js";
import { channelKey, splitChannelKey, type LocalChannel } from "./channel.js";
import type { ControlBus, ControlCommand } from "./control.js";
import type { FanOut } from "./fan-out.js";
import type { Log } from "./log.js";

/** Each change is told of channels that have at most so many. */
const SMALL_MOST = 100;
/** Changes that come within this are told as one. */
const SMALL_DELAY_MS = 50;
/** How often a larger channel is told. */
const LARGE_INTERVAL_MS = 5_000;
/** Asked and told about in one message. */
const CHANNELS_AT_ONCE = 500;
/** Two nodes that asked at the same time may tell different numbers: who told another one asks again. */
const DISPUTED_MS = 2_000;

type Told = Extract<ControlCommand, { kind: "subscribers" }>;

/** Of each of these channels, over the nodes that answered: one question for all. */
export async function askSubscribers(
  control: Pick<ControlBus, "ask">,
  app: string,
  channels: readonly string[],
): Promise<{ counts: readonly number[]; missing: readonly string[] }> {
  const { answers, missing } = await control.ask({ kind: "subscribers", app, channels });
  const counts = new Array<number>(channels.length).fill(0);
  for (const { answer } of answers) {
    if (answer.kind !== "subscribers") continue;
    for (const [index, count] of answer.counts.entries()) counts[index]! += count;
  }
  return { counts, missing };
}

export interface SubscriberCountsOptions {
  readonly control: ControlBus;
  readonly channels: ReadonlyMap<ChannelKey, LocalChannel>;
  readonly fanOut: Pick<FanOut, "notify">;
  readonly log: Log;
}

/** A channel that is told its count. */
interface Counted {
  /** By whichever node told last. */
  count: number;
  /** By this node. */
  ownCount: number;
  ownToldAtMs: number;
}

export class SubscriberCounts {
  readonly #options: SubscriberCountsOptions;
  readonly #counted = new Map<ChannelKey, Counted>();
  /** Changed, and when that is to be told, of performance.now(). */
  readonly #due = new Map<ChannelKey, number>();
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Infinity;
  #asking = false;
  #used = false;
  #stopped = false;

  constructor(options: SubscriberCountsOptions) {
    this.#options = options;
  }

  /** A subscriber came or went here. */
  changed({ key, rules }: LocalChannel): void {
    if (rules.tellsSubscriberCount !== true || this.#stopped) return;
    this.#used = true;
    if (this.#due.has(key)) return;
    const nowMs = performance.now();
    const counted = this.#counted.get(key);
    const atMs =
      counted === undefined || counted.count <= SMALL_MOST
        ? nowMs + SMALL_DELAY_MS
        : Math.max(nowMs + SMALL_DELAY_MS, counted.ownToldAtMs + LARGE_INTERVAL_MS);
    this.#due.set(key, atMs);
    this.#wakeAt(atMs);
  }

  /** A node is gone, and its subscribers with it. */
  changedAnywhere(): void {
    for (const channel of this.#options.channels.values()) this.changed(channel);
  }

  #wakeAt(atMs: number): void {
    if (this.#asking || atMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => void this.#tellDue(), Math.max(0, atMs - performance.now()));
  }

  async #tellDue(): Promise<void> {
    this.#timer = undefined;
    this.#timerAtMs = Infinity;
    this.#asking = true;
    const nowMs = performance.now();
    const byApp = new Map<string, string[]>();
    for (const [key, atMs] of this.#due) {
      if (atMs > nowMs) continue;
      // What changes from now on is told anew.
      this.#due.delete(key);
      const { app, name } = splitChannelKey(key);
      const names = byApp.get(app);
      if (names === undefined) byApp.set(app, [name]);
      else names.push(name);
    }
    for (const [app, channels] of byApp) {
      for (let at = 0; at < channels.length; at += CHANNELS_AT_ONCE) {
        await this.#tell(app, channels.slice(at, at + CHANNELS_AT_ONCE));
      }
    }
    this.#asking = false;
    if (this.#stopped) return;
    for (const atMs of this.#due.values()) this.#wakeAt(atMs);
  }

  async #tell(app: string, channels: readonly string[]): Promise<void> {
    const { control, log } = this.#options;
    try {
      const { counts, missing } = await askSubscribers(control, app, channels);
      // Half a sum is none: it is asked again.
      if (missing.length > 0) return this.#again(app, channels);
      // Before it is told: this node hears it too, and would take what it told before for another's.
      const ownToldAtMs = performance.now();
      for (const [index, name] of channels.entries()) {
        const key = channelKey(app, name);
        const ownCount = counts[index]!;
        if (!this.#options.channels.has(key)) continue;
        this.#counted.set(key, { count: this.#counted.get(key)?.count ?? ownCount, ownCount, ownToldAtMs });
      }
      await control.command({ kind: "subscribers", app, channels, counts });
    } catch (error) {
      log.warn({ err: error, app }, "how many subscribers channels have could not be asked: retrying");
      this.#again(app, channels);
    }
  }

  #again(app: string, channels: readonly string[]): void {
    const atMs = performance.now() + LARGE_INTERVAL_MS;
    for (const name of channels) {
      const key = channelKey(app, name);
      if (this.#options.channels.has(key) && !this.#due.has(key)) this.#due.set(key, atMs);
    }
  }

  /** A node, this one too, tells how many subscribers channels have. */
  told({ app, channels, counts }: Told): void {
    const nowMs = performance.now();
    for (const [index, name] of channels.entries()) {
      const key = channelKey(app, name);
      const channel = this.#options.channels.get(key);
      if (channel?.rules.tellsSubscriberCount !== true) {
        this.#counted.delete(key);
        continue;
      }
      const count = counts[index]!;
      const counted = this.#counted.get(key) ?? { count, ownCount: count, ownToldAtMs: -Infinity };
      counted.count = count;
      this.#counted.set(key, counted);
      this.#options.fanOut.notify(channel, { kind: "subscribers", count });
      if (nowMs - counted.ownToldAtMs < DISPUTED_MS && counted.ownCount !== count) this.changed(channel);
    }
  }

  /** The channel has no subscribers here any more. */
  forget(key: ChannelKey): void {
    this.#counted.delete(key);
  }

  /** Another node died: all nodes are to ask anew. */
  async nodeDied(): Promise<void> {
    try {
      await this.#options.control.command({ kind: "recount" });
    } catch (error) {
      this.#options.log.warn({ err: error }, "nodes could not be told to count subscribers anew");
    }
  }

  /** Once this node's connections are closed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#due.clear();
    if (this.#used) await this.nodeDied();
  }
}
