/** The broker of a node that runs alone: publications come back in a later phase of the loop. */

import type { Broker, BrokerHandlers, PublishRequest } from "../core/broker.js";
import type { Log } from "../core/log.js";
import type { Stats } from "../core/stats.js";
import { StarlingError } from "../protocol/errors.js";

export interface MemoryBrokerOptions {
  /** Publications that wait for this turn of the loop to end: more are refused. */
  readonly maxQueuedItems: number;
  /** The same in bytes of payload. */
  readonly maxQueuedBytes: number;
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
  #handlers: BrokerHandlers | undefined;
  #queue: PublishRequest[] = [];
  #queuedBytes = 0;
  #openedAtMs = 0;
  #drain: NodeJS.Immediate | undefined;

  constructor(options: MemoryBrokerOptions) {
    this.#options = options;
    const { maxQueuedItems, maxQueuedBytes } = options;
    this.#full = new StarlingError(
      "unavailable",
      `${maxQueuedItems} publications or ${maxQueuedBytes} bytes wait already: nothing was sent`,
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
    for (const request of requests) {
      const { key, payload, from, event, tags, exclude } = request;
      try {
        handlers?.publication({
          key,
          payload,
          from,
          event,
          tags,
          exclude,
          position: undefined,
          publishedAtMs,
        });
      } catch (error) {
        this.#fault(error, "delivering a publication threw");
      }
      this.#settle(request, undefined);
    }
  }

  #settle(request: PublishRequest, failure: StarlingError | undefined): void {
    try {
      request.settle(failure, undefined);
    } catch (error) {
      this.#fault(error, "a publisher threw when it was answered");
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
