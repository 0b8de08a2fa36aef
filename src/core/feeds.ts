/** The feeds of this node's channels with history: how each reads, delivers and tells, and the check that none is behind. */

import type { AnswerTurns } from "./answer-turns.js";
import { costOf } from "./answers.js";
import type { Broker, BusPublication, ChannelKey, HistoryRule } from "./broker.js";
import type { LocalChannel } from "./channel.js";
import type { Connection } from "./connection.js";
import { ChannelFeed } from "./channel-feed.js";
import type { FanOut } from "./fan-out.js";
import type { Log } from "./log.js";
import type { Stats } from "./stats.js";

/** Channels whose positions are asked for in one call. */
const CHECK_CHANNELS_MAX = 500;

/** The connection of this node that a publication is not meant for. */
type ExcludedFinder = (publication: BusPublication, channel: LocalChannel) => Connection | undefined;

export class Feeds {
  readonly #broker: Broker;
  readonly #fanOut: FanOut;
  readonly #excluded: ExcludedFinder;
  readonly #stats: Stats;
  readonly #log: Log;
  readonly #repair: boolean;
  readonly #pageBytes: number;
  readonly #answerTurns: AnswerTurns;

  /** `repair` false leaves holes as they are: only the fault kit's checker wants that. */
  constructor(options: {
    broker: Broker;
    fanOut: FanOut;
    excluded: ExcludedFinder;
    stats: Stats;
    log: Log;
    repair: boolean;
    /** Read at a time. */
    pageBytes: number;
    answerTurns: AnswerTurns;
  }) {
    this.#broker = options.broker;
    this.#fanOut = options.fanOut;
    this.#excluded = options.excluded;
    this.#stats = options.stats;
    this.#log = options.log;
    this.#repair = options.repair;
    this.#pageBytes = options.pageBytes;
    this.#answerTurns = options.answerTurns;
  }

  open(channel: LocalChannel, rule: HistoryRule): ChannelFeed {
    const { key } = channel;
    return new ChannelFeed({
      read: (since) => {
        this.#stats.historyReads++;
        return this.#broker.history(key, {
          rule,
          since,
          limit: rule.size,
          reverse: false,
          maxBytes: this.#pageBytes,
        });
      },
      top: async () => {
        const [top] = await this.#broker.positions([{ key, rule }]);
        return top!;
      },
      last: () => {
        this.#stats.historyReads++;
        return this.#broker.history(key, { rule, since: undefined, limit: 1, reverse: true });
      },
      turn: (missed) => this.#answerTurns.take(costOf(missed).bytes),
      deliver: (publication) => {
        this.#fanOut.publish(channel, publication, this.#excluded(publication, channel));
      },
      gap: (position) => {
        this.#stats.gaps++;
        this.#fanOut.notify(channel, { kind: "gap", position });
      },
      stale: () => this.#stats.publicationsStale++,
      failed: (error) =>
        this.#log.warn({ err: error, channel: channel.name }, "history could not be read: retrying"),
      repair: this.#repair,
    });
  }

  /**
   * Asks where channels stand and fills those that are behind; resolves when they are not.
   * @throws StarlingError unavailable, outcome_unknown
   */
  async check(channels: Iterable<LocalChannel>): Promise<void> {
    if (!this.#repair) return;
    let asked: { key: ChannelKey; rule: HistoryRule; feed: ChannelFeed }[] = [];
    for (const { key, rules, feed } of channels) {
      if (feed?.position === undefined || rules.history === undefined) continue;
      asked.push({ key, rule: rules.history, feed });
      if (asked.length < CHECK_CHANNELS_MAX) continue;
      await this.#ask(asked);
      asked = [];
    }
    if (asked.length > 0) await this.#ask(asked);
  }

  async #ask(asked: readonly { key: ChannelKey; rule: HistoryRule; feed: ChannelFeed }[]): Promise<void> {
    const tops = await this.#broker.positions(asked);
    await Promise.all(asked.map(async ({ feed }, i) => feed.observe(tops[i]!)));
  }
}
