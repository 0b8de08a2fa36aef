/** Reads what comes over the bus, and hands its publications to the hub. What cannot be read is counted and skipped. */

import type { BrokerHandlers, BusPublication, ChannelKey } from "../../core/broker.js";
import type { Log } from "../../core/log.js";
import type { Stats } from "../../core/stats.js";
import { throttle } from "../link/throttle.js";
import { decodeEnvelope } from "./envelope-reader.js";
import { readIngestLine, type IngestOptions } from "./ingest.js";

const SKIP_LOG_INTERVAL_MS = 1_000;

export class BusReceiver {
  readonly #handlers: BrokerHandlers;
  readonly #stats: Stats;
  readonly #log: Log;
  readonly #hasSubscribers = (key: ChannelKey): boolean => this.#handlers.hasSubscribers(key);
  readonly #reportSkipped: (error: unknown) => void;
  readonly #reportIngest: (error: unknown) => void;

  constructor(handlers: BrokerHandlers, stats: Stats, log: Log) {
    this.#handlers = handlers;
    this.#stats = stats;
    this.#log = log;
    this.#reportSkipped = throttle(SKIP_LOG_INTERVAL_MS, (suppressed, error) => {
      log.warn({ suppressed, error: String(error) }, "skipped what could not be read in an envelope");
    });
    this.#reportIngest = throttle(SKIP_LOG_INTERVAL_MS, (suppressed, error) => {
      log.warn({ suppressed, error: String(error) }, "skipped an ingest line that could not be read");
    });
  }

  envelope(bytes: Buffer): void {
    let publications: readonly BusPublication[];
    try {
      const envelope = decodeEnvelope(bytes, this.#hasSubscribers);
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

  ingestLine(line: Buffer, { app, maxBytes }: IngestOptions): void {
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
      this.#handlers.publication(publication);
    } catch (error) {
      this.#stats.sessionFaults++;
      this.#log.error({ err: error }, "delivering a publication threw");
    }
  }
}
