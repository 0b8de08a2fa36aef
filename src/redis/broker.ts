/**
 * The broker on Redis: publications of one loop turn leave as one envelope per
 * bus shard, and every node hears every shard, its own envelopes too. Those of
 * channels that keep history leave apart, as one script call per bus shard.
 */

import type {
  Broker,
  BrokerHandlers,
  BusPublication,
  ChannelKey,
  HistoryPage,
  HistoryQuery,
  HistoryRule,
  PublishRequest,
} from "../core/broker.js";
import type { Log } from "../core/log.js";
import type { Stats } from "../core/stats.js";
import { StarlingError } from "../core/errors.js";
import type { Position } from "../core/publication.js";
import { decodeEnvelope } from "./envelope-reader.js";
import { encodeEnvelope, sizeOf, type EnvelopeVersion } from "./envelope.js";
import { warnOfEviction } from "./eviction.js";
import { agreeOnShards } from "./fleet.js";
import { RedisHistory, type Answer } from "./history.js";
import { knowHistoryScripts } from "./history-scripts.js";
import { readIngestLine } from "./ingest.js";
import { limited } from "./limited.js";
import type { RedisLink } from "./link.js";
import { BUS_MESSAGE_BYTES_MAX } from "./packing.js";
import { shardOf } from "./shard.js";

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
  /** What to write: the version before while a fleet is being upgraded. */
  readonly envelopeVersion?: EnvelopeVersion | undefined;
  readonly ingest?: IngestOptions | undefined;
  /** For how long a repetition of a messageId is known as one. */
  readonly messageIdWindowMs: number;
  /** How long a channel's epoch is kept that was only looked at. */
  readonly emptyMs: number;
  readonly stats: Stats;
  readonly log: Log;
}

export interface IngestOptions {
  /** The Redis channel on which applications publish, as it is: without the prefix. */
  readonly channel: string;
  /** The application that its channels belong to. */
  readonly app: string;
  /** The longest line. */
  readonly maxBytes: number;
}

/** An envelope is at most a full batch and one publication more. */
const PUBLICATION_BYTES_MAX = BUS_MESSAGE_BYTES_MAX / 4;
const BATCH_BYTES_MAX = BUS_MESSAGE_BYTES_MAX / 2;
const SKIP_LOG_INTERVAL_MS = 1_000;

/**
 * A batch with history waits for its script, a millisecond for 500: with several smaller ones on their way
 * the node has something to do meanwhile.
 */
const KEPT_ITEMS_MAX = 256;

interface Batch {
  readonly shard: number;
  /** All of its channels keep history, or none does. */
  readonly kept: boolean;
  readonly requests: PublishRequest[];
  readonly openedAtMs: number;
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
  readonly #gathering: (Batch | undefined)[];
  /** Written, not answered. */
  readonly #unanswered = new Set<Batch>();
  readonly #keptItems: number;
  #queuedItems = 0;
  #queuedBytes = 0;
  #flush: NodeJS.Immediate | undefined;
  #handlers: BrokerHandlers | undefined;
  #started = false;
  #stopping: Promise<void> | undefined;
  /** Ends the wait of stop(). */
  #idle: (() => void) | undefined;
  /** One for all that is refused: a stack each would cost most when there is least time. */
  readonly #full: StarlingError;
  readonly #closed = new StarlingError("unavailable", "this node is stopping: nothing was sent");
  readonly #hears = (key: ChannelKey): boolean => this.#handlers?.hears(key) === true;
  readonly #reportSkipped: (error: unknown) => void;
  readonly #reportIngest: (error: unknown) => void;

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
    this.#keptItems = Math.min(options.batchItems, KEPT_ITEMS_MAX);
    this.#gathering = new Array<Batch | undefined>(options.shards * 2).fill(undefined);
    this.#full = new StarlingError(
      "unavailable",
      `publish queue limit reached (${options.maxQueuedItems} publications or ${options.maxQueuedBytes} bytes unconfirmed by Redis): nothing was sent`,
    );
    this.#reportSkipped = limited(SKIP_LOG_INTERVAL_MS, (suppressed, error) => {
      options.log.warn({ suppressed, error: String(error) }, "skipped what could not be read in an envelope");
    });
    this.#reportIngest = limited(SKIP_LOG_INTERVAL_MS, (suppressed, error) => {
      options.log.warn({ suppressed, error: String(error) }, "skipped an ingest line that could not be read");
    });
  }

  async start(handlers: BrokerHandlers): Promise<void> {
    const { shards, ingest } = this.#options;
    const { keys } = this.#link;
    this.#handlers = handlers;
    this.#link.prepare((publisher) => agreeOnShards(publisher, keys, shards));
    this.#link.prepare(knowHistoryScripts);
    this.#link.prepare(warnOfEviction(this.#options.log));
    for (let shard = 0; shard < shards; shard++) {
      this.#link.hear(keys.bus(shard), (bytes) => this.#envelopeCame(bytes));
    }
    if (ingest !== undefined) this.#link.hearPlain(ingest.channel, (line) => this.#lineCame(line, ingest));
    this.#link.onChange((up) => handlers.link(up));
    await this.#link.open();
    this.#started = true;
  }

  publish(request: PublishRequest): void {
    const bytes = sizeOf(request);
    const refusal = this.#refusal(bytes);
    if (refusal !== undefined) {
      this.#settle(request, refusal);
      return;
    }
    const shard = shardOf(request.key, this.#options.shards);
    const kept = request.history !== undefined;
    const place = kept ? this.#options.shards + shard : shard;
    const batch = (this.#gathering[place] ??= {
      shard,
      kept,
      requests: [],
      openedAtMs: Date.now(),
      bytes: 0,
    });
    batch.requests.push(request);
    batch.bytes += bytes;
    this.#queuedItems++;
    this.#queuedBytes += bytes;
    const mostItems = kept ? this.#keptItems : this.#options.batchItems;
    if (batch.requests.length >= mostItems || batch.bytes >= this.#options.batchBytes) {
      this.#gathering[place] = undefined;
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
    const batches: Batch[] = [];
    for (let place = 0; place < this.#gathering.length; place++) {
      const batch = this.#gathering[place];
      if (batch !== undefined) batches.push(batch);
      this.#gathering[place] = undefined;
    }
    if (batches.length > 0) this.#send(batches);
  }

  #send(batches: readonly Batch[]): void {
    for (const batch of batches) {
      this.#unanswered.add(batch);
      this.#stats.batchItems.observe(batch.requests.length);
    }
    const passing = batches.filter((batch) => !batch.kept);
    if (passing.length > 0) this.#sendPassing(passing);
    for (const batch of batches) {
      if (batch.kept) void this.#history.append(batch).then((answers) => this.#answered(batch, answers));
    }
  }

  #sendPassing(batches: readonly Batch[]): void {
    const messages = batches.map((batch) => {
      const { nodeId, keys } = this.#link;
      const bytes = encodeEnvelope(nodeId, batch.openedAtMs, batch.requests, this.#options.envelopeVersion);
      return { channel: keys.bus(batch.shard), bytes };
    });
    void this.#link.publish(messages).then((failures) => {
      for (let i = 0; i < batches.length; i++) this.#answeredAll(batches[i]!, failures[i]);
    });
  }

  #answeredAll(batch: Batch, answer: StarlingError | undefined): void {
    this.#answered(
      batch,
      batch.requests.map(() => answer),
    );
  }

  #answered(batch: Batch, answers: readonly (Answer | undefined)[]): void {
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

  #envelopeCame(bytes: Buffer): void {
    let publications: readonly BusPublication[];
    try {
      const envelope = decodeEnvelope(bytes, this.#hears);
      ({ publications } = envelope);
      this.#stats.publicationsUnheard += envelope.unheard;
      if (envelope.unreadable > 0) {
        this.#stats.envelopesSkipped += envelope.unreadable;
        this.#reportSkipped(envelope.problem);
      }
    } catch (error) {
      this.#stats.envelopesSkipped++;
      this.#reportSkipped(error);
      return;
    }
    for (const publication of publications) this.#deliver(publication);
  }

  #lineCame(line: Buffer, { app, maxBytes }: IngestOptions): void {
    let publication: BusPublication;
    try {
      publication = readIngestLine(line, app, maxBytes);
    } catch (error) {
      this.#stats.reject("ingest");
      this.#reportIngest(error);
      return;
    }
    this.#deliver(publication);
  }

  #deliver(publication: BusPublication): void {
    try {
      this.#handlers?.publication(publication);
    } catch (error) {
      this.#stats.sessionFaults++;
      this.#options.log.error({ err: error }, "delivering a publication threw");
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
    return this.#history.read(key, query);
  }

  tops(
    channels: readonly { readonly key: ChannelKey; readonly rule: HistoryRule }[],
  ): Promise<readonly Position[]> {
    return this.#history.tops(channels);
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
