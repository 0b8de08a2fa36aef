/**
 * The broker on Redis: publications of one loop turn leave as one envelope per
 * bus shard, and every node hears every shard, its own envelopes too. Those of
 * channels that keep history leave apart, as one script call per bus shard.
 */

import type {
  Broker,
  BrokerHandlers,
  ChannelKey,
  HistoryPage,
  HistoryQuery,
  HistoryRule,
  PublishRequest,
} from "../../core/broker.js";
import type { Log } from "../../core/log.js";
import type { Stats } from "../../core/stats.js";
import { StarlingError } from "../../core/errors.js";
import { extrasError } from "../../core/extras.js";
import type { Position } from "../../core/publication.js";
import { encodeEnvelope, sizeOf } from "./envelope.js";
import { agreeOnShards, warnOfEviction } from "./publisher-checks.js";
import { RedisHistory, type Answer } from "../history/history.js";
import { knowHistoryScripts } from "../history/history-scripts.js";
import type { IngestOptions } from "./ingest.js";
import type { FleetFormat } from "../link/fleet-format.js";
import type { RedisLink } from "../link/link.js";
import { BUS_MESSAGE_BYTES_MAX } from "./packing.js";
import { BusReceiver } from "./receiver.js";
import { shardOf } from "../link/keys.js";

export interface RedisBrokerOptions {
  readonly link: RedisLink;
  /** One number for the whole fleet. */
  readonly shards: number;
  /** A batch that holds this many publications or bytes does not wait for the turn's end. */
  readonly batchItems: number;
  readonly batchBytes: number;
  /** Publications that Redis has not confirmed, batched ones included: more are refused. */
  readonly maxQueuedItems: number;
  readonly maxQueuedBytes: number;
  /** What may be written. */
  readonly format: FleetFormat;
  readonly ingest?: IngestOptions | undefined;
  /** For how long a repetition of a messageId is known as one. */
  readonly messageIdWindowMs: number;
  /** How long a channel's epoch is kept that was only looked at. */
  readonly emptyMs: number;
  readonly stats: Stats;
  readonly log: Log;
}

/** An envelope is at most a full batch and one publication more. */
const PUBLICATION_BYTES_MAX = BUS_MESSAGE_BYTES_MAX / 4;
const BATCH_BYTES_MAX = BUS_MESSAGE_BYTES_MAX / 2;

/**
 * A batch with history waits for its script, a millisecond for 500: with several smaller ones on their way
 * the node has something to do meanwhile.
 */
const HISTORY_BATCH_ITEMS_MAX = 256;

interface PublicationBatch {
  readonly shard: number;
  /** Whether all of its channels keep history; else none does. */
  readonly withHistory: boolean;
  readonly requests: PublishRequest[];
  readonly openedAtMs: number;
  /** What the fleet read when it was opened. */
  readonly format: number;
  bytes: number;
}

export function createRedisBroker(options: RedisBrokerOptions): Broker {
  if (options.batchBytes > BATCH_BYTES_MAX) {
    throw new Error(`busBatchBytes is ${options.batchBytes}, at most ${BATCH_BYTES_MAX} is allowed`);
  }
  return new RedisBroker(options);
}

class RedisBroker implements Broker {
  readonly #options: RedisBrokerOptions;
  readonly #link: RedisLink;
  readonly #stats: Stats;
  readonly #history: RedisHistory;
  /** By shard, those with history after those without: what this turn of the loop gathered. */
  readonly #gathering: (PublicationBatch | undefined)[];
  /** Written, not answered. */
  readonly #unanswered = new Set<PublicationBatch>();
  readonly #historyBatchItems: number;
  #queuedItems = 0;
  #queuedBytes = 0;
  #flush: NodeJS.Immediate | undefined;
  #started = false;
  #stopping: Promise<void> | undefined;
  /** Ends the wait of stop(). */
  #idle: (() => void) | undefined;
  /** One for all that is refused: a stack each would cost most when there is least time. */
  readonly #full: StarlingError;
  readonly #closed = new StarlingError("unavailable", "this node is stopping: nothing was sent");

  constructor(options: RedisBrokerOptions) {
    this.#options = options;
    this.#link = options.link;
    this.#stats = options.stats;
    this.#history = new RedisHistory({
      link: options.link,
      shards: options.shards,
      messageIdWindowMs: options.messageIdWindowMs,
      emptyMs: options.emptyMs,
      stats: options.stats,
      log: options.log,
    });
    this.#historyBatchItems = Math.min(options.batchItems, HISTORY_BATCH_ITEMS_MAX);
    this.#gathering = new Array<PublicationBatch | undefined>(options.shards * 2).fill(undefined);
    this.#full = new StarlingError(
      "unavailable",
      `publish queue limit reached (${options.maxQueuedItems} publications or ${options.maxQueuedBytes} bytes unconfirmed by Redis): nothing was sent`,
    );
  }

  async start(handlers: BrokerHandlers): Promise<void> {
    const { shards, ingest } = this.#options;
    const { keys } = this.#link;
    const receiver = new BusReceiver(handlers, this.#stats, this.#options.log);
    this.#link.prepare((publisher) => agreeOnShards(publisher, keys, shards));
    this.#link.prepare(knowHistoryScripts);
    this.#link.prepare(warnOfEviction(this.#options.log));
    for (let shard = 0; shard < shards; shard++) {
      this.#link.subscribe(keys.bus(shard), (bytes) => receiver.envelope(bytes));
    }
    if (ingest !== undefined)
      this.#link.subscribePlain(ingest.channel, (line) => receiver.ingestLine(line, ingest));
    this.#link.onChange((up) => handlers.link(up));
    await this.#link.open();
    this.#started = true;
  }

  publish(request: PublishRequest): void {
    const shard = shardOf(request.key, this.#options.shards);
    const withHistory = request.history !== undefined;
    const index = withHistory ? this.#options.shards + shard : shard;
    const format = this.#gathering[index]?.format ?? this.#options.format.oldest;
    const bytes = sizeOf(request, format);
    const refusal = this.#refusal(bytes) ?? extrasError(request.extras);
    if (refusal !== undefined) {
      this.#settle(request, refusal);
      return;
    }
    const batch = (this.#gathering[index] ??= {
      shard,
      withHistory,
      requests: [],
      openedAtMs: Date.now(),
      format,
      bytes: 0,
    });
    batch.requests.push(request);
    batch.bytes += bytes;
    this.#queuedItems++;
    this.#queuedBytes += bytes;
    const mostItems = withHistory ? this.#historyBatchItems : this.#options.batchItems;
    if (batch.requests.length >= mostItems || batch.bytes >= this.#options.batchBytes) {
      this.#gathering[index] = undefined;
      this.#send([batch]);
    } else {
      // Not a microtask: uWebSockets.js runs those after each of its callbacks,
      // and a batch would hold one frame.
      this.#flush ??= setImmediate(() => this.#sendGathered());
    }
  }

  #refusal(bytes: number): StarlingError | undefined {
    if (this.#stopping !== undefined) return this.#closed;
    if (this.#link.down !== undefined) return this.#link.down;
    const { maxQueuedItems, maxQueuedBytes } = this.#options;
    if (bytes > PUBLICATION_BYTES_MAX) {
      return new StarlingError(
        "too_large",
        `the publication has ${bytes} bytes, the bus carries at most ${PUBLICATION_BYTES_MAX}`,
      );
    }
    if (this.#queuedItems >= maxQueuedItems || this.#queuedBytes + bytes > maxQueuedBytes) return this.#full;
    return undefined;
  }

  #sendGathered(): void {
    this.#flush = undefined;
    const batches: PublicationBatch[] = [];
    for (let index = 0; index < this.#gathering.length; index++) {
      const batch = this.#gathering[index];
      if (batch !== undefined) batches.push(batch);
      this.#gathering[index] = undefined;
    }
    if (batches.length > 0) this.#send(batches);
  }

  #send(batches: readonly PublicationBatch[]): void {
    for (const batch of batches) {
      this.#unanswered.add(batch);
      this.#stats.batchItems.observe(batch.requests.length);
    }
    const withoutHistory = batches.filter((batch) => !batch.withHistory);
    if (withoutHistory.length > 0) this.#sendWithoutHistory(withoutHistory);
    for (const batch of batches) {
      if (batch.withHistory)
        void this.#history.append(batch).then((answers) => this.#answered(batch, answers));
    }
  }

  #sendWithoutHistory(batches: readonly PublicationBatch[]): void {
    const messages = batches.map((batch) => {
      const { nodeId, keys } = this.#link;
      const bytes = encodeEnvelope(nodeId, batch.openedAtMs, batch.requests, batch.format);
      return { channel: keys.bus(batch.shard), bytes };
    });
    void this.#link.publish(messages).then((failures) => {
      for (let i = 0; i < batches.length; i++) this.#answeredAll(batches[i]!, failures[i]);
    });
  }

  #answeredAll(batch: PublicationBatch, answer: StarlingError | undefined): void {
    this.#answered(
      batch,
      batch.requests.map(() => answer),
    );
  }

  #answered(batch: PublicationBatch, answers: readonly (Answer | undefined)[]): void {
    // stop() may have given up on it.
    if (!this.#unanswered.delete(batch)) return;
    this.#queuedItems -= batch.requests.length;
    this.#queuedBytes -= batch.bytes;
    const tookMs = Math.max(0, Date.now() - batch.openedAtMs);
    this.#stats.publishSeconds.observe(tookMs / 1000, batch.requests.length);
    for (let i = 0; i < batch.requests.length; i++) this.#settle(batch.requests[i]!, answers[i]);
    if (this.#queuedItems === 0) this.#idle?.();
  }

  #settle(request: PublishRequest, answer: Answer | undefined): void {
    if (answer instanceof StarlingError) this.#stats.publicationsFailed++;
    try {
      if (answer instanceof StarlingError) request.settle(answer, undefined);
      else request.settle(undefined, answer);
    } catch (error) {
      this.#stats.sessionFaults++;
      this.#options.log.error({ err: error }, "the callback of a publication threw");
    }
  }

  /** Every node hears every shard: there is nothing to wait for. */
  subscribe(): undefined {
    return undefined;
  }

  unsubscribe(): void {
    // See subscribe.
  }

  history(key: ChannelKey, query: HistoryQuery): Promise<HistoryPage> {
    // Commands of one connection are answered in their order: what was published here before is in the page.
    const index = this.#options.shards + shardOf(key, this.#options.shards);
    const batch = this.#gathering[index];
    if (batch !== undefined) {
      this.#gathering[index] = undefined;
      this.#send([batch]);
    }
    return this.#history.read(key, query);
  }

  positions(
    channels: readonly { readonly key: ChannelKey; readonly rule: HistoryRule }[],
  ): Promise<readonly Position[]> {
    return this.#history.currentPositions(channels);
  }

  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    clearImmediate(this.#flush);
    this.#sendGathered();
    if (this.#queuedItems > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
        timer = setTimeout(resolve, this.#link.commandTimeoutMs);
      });
      clearTimeout(timer);
    }
    // A link that did not open has closed itself.
    if (this.#started) await this.#link.close();
    for (const batch of this.#unanswered) {
      this.#answeredAll(
        batch,
        new StarlingError(
          "outcome_unknown",
          "this node stopped before Redis answered: the outcome is unknown",
        ),
      );
    }
  }
}
