/** The broker of a node that runs alone: publications come back in a later phase of the loop. */

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
import { extrasError } from "../core/extras.js";
import type { Position } from "../core/publication.js";
import { MemoryHistory } from "./history.js";

export interface MemoryBrokerOptions {
  /** Publications that wait for this turn of the loop to end: more are refused. */
  readonly maxQueuedItems: number;
  /** The same in bytes of payload. */
  readonly maxQueuedBytes: number;
  /** For how long a repetition of a messageId is known as one. */
  readonly messageIdWindowMs: number;
  /** How long a channel's epoch is kept that was only looked at. */
  readonly emptyMs: number;
  readonly stats: Stats;
  readonly log: Log;
}

export function createMemoryBroker(options: MemoryBrokerOptions): Broker {
  return new MemoryBroker(options);
}

class MemoryBroker implements Broker {
  readonly #options: MemoryBrokerOptions;
  readonly #full: StarlingError;
  readonly #closed = new StarlingError("unavailable", "this node is not running: nothing was sent");
  readonly #history: MemoryHistory;
  #handlers: BrokerHandlers | undefined;
  #queue: PublishRequest[] = [];
  #queuedBytes = 0;
  #openedAtMs = 0;
  #drain: NodeJS.Immediate | undefined;

  constructor(options: MemoryBrokerOptions) {
    this.#options = options;
    this.#history = new MemoryHistory(options.messageIdWindowMs, options.emptyMs);
    const { maxQueuedItems, maxQueuedBytes } = options;
    this.#full = new StarlingError(
      "unavailable",
      `publish queue limit reached (${maxQueuedItems} publications or ${maxQueuedBytes} bytes): nothing was sent`,
    );
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface waits for a link; here is none
  async start(handlers: BrokerHandlers): Promise<void> {
    this.#handlers = handlers;
    handlers.link(true);
  }

  publish(request: PublishRequest): void {
    const bytes = request.payload.bytes.length;
    if (this.#handlers === undefined) {
      this.#settle(request, this.#closed);
      return;
    }
    const refusal = extrasError(request.extras);
    if (refusal !== undefined) {
      this.#settle(request, refusal);
      return;
    }
    const { maxQueuedItems, maxQueuedBytes } = this.#options;
    if (this.#queue.length >= maxQueuedItems || this.#queuedBytes + bytes > maxQueuedBytes) {
      this.#settle(request, this.#full);
      return;
    }
    if (this.#queue.length === 0) this.#openedAtMs = Date.now();
    this.#queue.push(request);
    this.#queuedBytes += bytes;
    this.#drain ??= setImmediate(() => this.#deliverQueued(this.#handlers));
  }

  #deliverQueued(handlers: BrokerHandlers | undefined): void {
    const requests = this.#queue;
    const publishedAtMs = this.#openedAtMs;
    this.#drain = undefined;
    // What is published meanwhile waits for the next turn.
    this.#queue = [];
    this.#queuedBytes = 0;
    if (requests.length > 0) this.#options.stats.batchItems.observe(requests.length);
    for (const request of requests) this.#deliver(request, publishedAtMs, handlers);
  }

  #deliver(request: PublishRequest, publishedAtMs: number, handlers: BrokerHandlers | undefined): void {
    const { key, payload, from, event, tags, exclude, extras, history, messageId } = request;
    let publication: BusPublication = {
      key,
      payload,
      from,
      event,
      tags,
      exclude,
      position: undefined,
      extras,
      publishedAtMs,
    };
    if (history !== undefined) {
      const before = messageId === undefined ? undefined : this.#history.positionOf(key, messageId);
      if (before !== undefined) {
        this.#settle(request, undefined, before);
        return;
      }
      publication = this.#history.append(publication, history, messageId);
    }
    try {
      handlers?.publication(publication);
    } catch (error) {
      this.#fault(error, "delivering a publication threw");
    }
    this.#settle(request, undefined, publication.position);
  }

  #settle(request: PublishRequest, failure: StarlingError | undefined, position?: Position): void {
    if (failure !== undefined) this.#options.stats.publicationsFailed++;
    try {
      request.settle(failure, position);
    } catch (error) {
      this.#fault(error, "the callback of a publication threw");
    }
  }

  #fault(error: unknown, message: string): void {
    this.#options.stats.sessionFaults++;
    this.#options.log.error({ err: error }, message);
  }

  /** Everything published is delivered: there is nothing to wait for. */
  subscribe(): undefined {
    return undefined;
  }

  unsubscribe(): void {
    // See subscribe.
  }

  async history(key: ChannelKey, query: HistoryQuery): Promise<HistoryPage> {
    // What was published before is delivered first, as #drain is an immediate of before.
    if (this.#drain !== undefined) await new Promise((resolve) => setImmediate(resolve));
    this.#checkRunning();
    return this.#history.read(key, query);
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- a failure has to be a rejection
  async positions(
    channels: readonly { readonly key: ChannelKey; readonly rule: HistoryRule }[],
  ): Promise<readonly Position[]> {
    this.#checkRunning();
    return channels.map(({ key, rule }) => this.#history.top(key, rule));
  }

  #checkRunning(): void {
    if (this.#handlers === undefined) throw this.#closed;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface waits for a link; here is none
  async stop(): Promise<void> {
    const handlers = this.#handlers;
    clearImmediate(this.#drain);
    // First: what is published while the last are delivered is refused.
    this.#handlers = undefined;
    this.#deliverQueued(handlers);
    handlers?.link(false);
  }
}
