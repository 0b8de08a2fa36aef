/**
 * Channel history on Redis: a batch is appended, numbered and published by one script
 * (lua/history-append.lua), and read together with its current position by another.
 *
 * Reads go over the publish connection, so they see what was published before them. They are
 * cut into script calls of bounded size, and few run at once: publications pass between them.
 */

import { randomFillSync } from "node:crypto";

import type {
  BusPublication,
  ChannelKey,
  HistoryPage,
  HistoryQuery,
  HistoryRule,
  PublishRequest,
} from "../../core/broker.js";
import type { Log } from "../../core/log.js";
import type { Stats } from "../../core/stats.js";
import { setBounded } from "../../core/bounded-map.js";
import { StarlingError } from "../../core/errors.js";
import type { Position } from "../../core/publication.js";
import { readEntry } from "../bus/envelope-reader.js";
import { encodeItems, encodePositionedHead } from "../bus/envelope.js";
import { ReadLimiter } from "./read-limiter.js";
import { APPEND, READ, POSITIONS, runForBytes } from "./history-scripts.js";
import { EncodedCall, encodeArguments } from "../link/encoded-call.js";
import { throttle } from "../link/throttle.js";
import type { RedisLink } from "../link/link.js";
import { packNumbers, unpackMessage } from "../bus/packing.js";
import { BatchPositions, takeOffset } from "../bus/positions.js";
import { runScript } from "../link/scripts.js";
import { shardOf } from "../link/keys.js";

export interface HistoryOptions {
  readonly link: RedisLink;
  readonly shards: number;
  /** For how long a repetition of a messageId is known as one. */
  readonly messageIdWindowMs: number;
  /** How long a channel's epoch is kept that was only looked at. */
  readonly emptyMs: number;
  readonly stats: Stats;
  readonly log: Log;
}

export interface HistoryBatch {
  readonly shard: number;
  readonly openedAtMs: number;
  /** What the fleet reads. */
  readonly format: number;
  /** All with a history rule. */
  readonly requests: readonly PublishRequest[];
}

/** What became of one request. */
export type Answer = StarlingError | Position;

/**
 * How much longer than its history the epoch and offsets of a channel live. A quiet channel goes on with its
 * epoch and offsets although its history has expired; one that nobody looked at for so long
 * starts anew. lua/history-channel.lua knows half of it.
 */
const POSITION_EXTRA_TTL_MS = 600_000;
/** One script call returns this much and one entry more: about a millisecond of the connection. */
const READ_BYTES = 512 * 1024;
/** The most that one page holds of payloads: what is longer is read in several. */
const PAGE_BYTES_MAX = 16 * 1024 * 1024;
const READS_RUNNING = 16;
const READS_WAITING = 20_000;
/** Per script call, at about a microsecond each. */
const POSITIONS_PER_CALL = 250;
const EPOCH_BYTES = 9;
const NAMES_KEPT = 4_096;
const LOG_INTERVAL_MS = 1_000;

interface PartialRead {
  readonly top: Position;
  /** It stopped by bytes. */
  readonly cut: boolean;
  /** Offsets that were asked for lie behind the last entry. */
  readonly more: boolean;
  /** Of the last entry, readable or not. */
  readonly reached: number;
  readonly count: number;
  readonly bytes: number;
}

export class RedisHistory {
  readonly #options: HistoryOptions;
  readonly #link: RedisLink;
  readonly #readLimiter = new ReadLimiter(READS_RUNNING, READS_WAITING);
  readonly #call = new EncodedCall();
  /** Of channels that were lately published to: the keys of their stream and meta, encoded as arguments. */
  readonly #names = new Map<ChannelKey, Uint8Array>();
  readonly #reportTrouble: (text: string) => void;
  readonly #reportSkipped: (error: unknown, key: ChannelKey) => void;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#link = options.link;
    this.#reportTrouble = throttle(LOG_INTERVAL_MS, (suppressed, error) => {
      options.log.error({ suppressed, error }, "Redis refused a step after a publication was appended");
    });
    this.#reportSkipped = throttle(LOG_INTERVAL_MS, (suppressed, error, key) => {
      options.log.warn({ suppressed, key, error: String(error) }, "skipped an entry of history");
    });
  }

  /** Never rejects. @returns an answer for each request */
  async append(batch: HistoryBatch): Promise<readonly Answer[]> {
    const { requests } = batch;
    try {
      const call = this.#appendCall(batch);
      const reply = await this.#link.runInTime((redis) => call.run(redis, APPEND));
      const [answers, trouble, unpublished] = reply as [Buffer, Buffer, Buffer];
      return this.#answers(
        requests.length,
        unpackMessage(answers),
        trouble.toString(),
        unpublished.toString(),
      );
    } catch (error) {
      const failure =
        error instanceof StarlingError
          ? error
          : new StarlingError("internal", "a batch could not be written", { cause: error });
      if (failure !== error) this.#options.log.error({ err: error }, "a batch could not be written");
      return requests.map(() => failure);
    }
  }

  /** The call of lua/history-append.lua that writes the batch. */
  #appendCall({ shard, openedAtMs, format, requests }: HistoryBatch): EncodedCall {
    const { keys, nodeId } = this.#link;
    const numbers = new Map<ChannelKey, number>();
    const onceNames: string[] = [];
    const rules: number[] = [];
    const layout: number[] = [];
    const identified: number[] = [];
    const items = encodeItems(requests, openedAtMs, format);
    const call = this.#call;
    call.restart(keys.history(shard, requests[0]!.key));
    for (let i = 0; i < requests.length; i++) {
      const { key, history, messageId } = requests[i]!;
      let number = numbers.get(key);
      if (number === undefined) {
        number = numbers.size + 1;
        numbers.set(key, number);
        call.addKeys(this.#names.get(key) ?? this.#keepNames(shard, key), 2);
        rules.push(
          history!.size,
          history!.ttlMs,
          history!.ttlMs + POSITION_EXTRA_TTL_MS,
          history!.bytes ?? 0,
        );
      }
      layout.push(number, items.lengths[i]!);
      if (messageId !== undefined) {
        identified.push(i + 1);
        onceNames.push(keys.once(shard, key, messageId));
      }
    }
    if (onceNames.length > 0) call.addKeys(encodeArguments(...onceNames), onceNames.length);
    call.add(keys.bus(shard));
    call.add(encodePositionedHead(nodeId, openedAtMs, [...numbers.keys()]));
    call.add(items.bytes);
    call.add(packNumbers(rules, layout, identified));
    call.add(freshEpoch());
    call.add(this.#options.messageIdWindowMs);
    call.add(this.#link.publishCommand);
    call.add(this.#link.deadlineMs);
    return call;
  }

  #keepNames(shard: number, key: ChannelKey): Uint8Array {
    const { keys } = this.#link;
    // In memory of their own, as ownBytes has it.
    const names = Uint8Array.from(encodeArguments(keys.history(shard, key), keys.meta(shard, key)));
    return setBounded(this.#names, NAMES_KEPT, key, names);
  }

  #answers(count: number, listed: unknown, trouble: string, unpublished: string): Answer[] {
    const positions = new BatchPositions(listed, count);
    if (trouble !== "") this.#reportTrouble(trouble);
    if (unpublished !== "") this.#reportTrouble(unpublished);
    const answers = new Array<Answer>(count);
    for (let i = 0; i < count; i++) {
      const run = positions.runs[positions.runOf(i)]!;
      const { epochOrRefusal } = run;
      const offset = takeOffset(run);
      if (offset === -1)
        answers[i] = new StarlingError("unavailable", `Redis refused the publication: ${epochOrRefusal}`);
      else if (unpublished === "") answers[i] = { offset, epoch: epochOrRefusal };
      else
        answers[i] = new StarlingError(
          "outcome_unknown",
          `Redis appended the publication to history, but did not publish it: ${unpublished}`,
        );
    }
    return answers;
  }

  /** @throws StarlingError unavailable, outcome_unknown */
  async read(key: ChannelKey, query: HistoryQuery): Promise<HistoryPage> {
    const publications: BusPublication[] = [];
    let { since } = query;
    let left = query.limit;
    let bytes = 0;
    const maxBytes = Math.min(PAGE_BYTES_MAX, query.maxBytes ?? PAGE_BYTES_MAX);
    for (;;) {
      const at = since;
      const call = { limit: left, maxBytes: Math.min(READ_BYTES, maxBytes - bytes) };
      const part = await this.#readLimiter.run(() => this.#readOnce(key, query, at, call, publications));
      const { top, cut, more, reached, count } = part;
      if (at !== undefined && at !== query.since && at.epoch !== top.epoch) {
        // The channel was renewed between two calls: what was read of the epoch before is void.
        publications.length = 0;
        since = query.since;
        left = query.limit;
        bytes = 0;
        if (since !== undefined) return { publications, top };
        continue;
      }
      left -= count;
      bytes += part.bytes;
      if (!cut || left <= 0 || bytes >= maxBytes) return { publications, top, more };
      since = { offset: reached, epoch: top.epoch };
    }
  }

  async #readOnce(
    key: ChannelKey,
    { rule, reverse, peek }: HistoryQuery,
    since: Position | undefined,
    { limit, maxBytes }: { limit: number; maxBytes: number },
    into: BusPublication[],
  ): Promise<PartialRead> {
    const { keys } = this.#link;
    const shard = shardOf(key, this.#options.shards);
    const args = [
      freshEpoch(),
      rule.ttlMs + POSITION_EXTRA_TTL_MS,
      rule.size,
      since?.epoch ?? "",
      since?.offset ?? 0,
      reverse ? "1" : "0",
      limit,
      maxBytes,
      this.#link.deadlineMs,
      this.#options.emptyMs,
      peek === true ? "1" : "0",
    ];
    const names = [keys.history(shard, key), keys.meta(shard, key)];
    const reply = await this.#link.runInTime((redis) => runForBytes(redis, READ, names, args));
    const [epochBytes, top, cut, ...entries] = reply as [Buffer, number, number, ...(number | Buffer)[]];
    const epoch = epochBytes.toString();
    // As the script reckons: its first and its last entry may hold more than was asked for.
    const low = Math.max(1, top - rule.size + 1, reverse || since === undefined ? 1 : since.offset + 1);
    const high = reverse && since !== undefined ? Math.min(top, since.offset - 1) : top;
    let reached = since?.offset ?? 0;
    let count = 0;
    let bytes = 0;
    for (let i = 0; i < entries.length; i += 3) {
      const last = entries[i] as number;
      const first = last - (entries[i + 1] as number) + 1;
      const entry = entries[i + 2] as Buffer;
      const from = Math.max(low, first);
      const to = Math.min(high, last);
      const taken = Math.min(to - from + 1, limit - count);
      bytes += entry.length;
      count += taken;
      reached = reverse ? to - taken + 1 : from + taken - 1;
      try {
        const { publications, problem } = readEntry(entry, key, epoch, first, last - first + 1);
        let unreadable = 0;
        for (let n = 0; n < taken; n++) {
          const offset = reverse ? to - n : from + n;
          const publication = publications[offset - first];
          if (publication === undefined) unreadable++;
          else into.push(withOwnBytes(publication));
        }
        if (unreadable > 0) {
          this.#options.stats.envelopesSkipped += unreadable;
          this.#reportSkipped(problem, key);
        }
      } catch (error) {
        // Offsets are missing in the page: whoever reads it sees the gap.
        this.#options.stats.envelopesSkipped++;
        this.#reportSkipped(error, key);
      }
    }
    const more = count > 0 && (reverse ? reached > low : reached < high);
    return { top: { offset: top, epoch }, cut: cut === 1, more, reached, count, bytes };
  }

  /** @throws StarlingError unavailable, outcome_unknown */
  async currentPositions(
    channels: readonly { readonly key: ChannelKey; readonly rule: HistoryRule }[],
  ): Promise<Position[]> {
    const { keys } = this.#link;
    const byShard = new Map<number, number[]>();
    for (let i = 0; i < channels.length; i++) {
      const shard = shardOf(channels[i]!.key, this.#options.shards);
      const of = byShard.get(shard);
      if (of === undefined) byShard.set(shard, [i]);
      else of.push(i);
    }
    const positions = new Array<Position>(channels.length);
    const calls: Promise<void>[] = [];
    for (const [shard, indexes] of byShard) {
      for (let from = 0; from < indexes.length; from += POSITIONS_PER_CALL) {
        const part = indexes.slice(from, from + POSITIONS_PER_CALL);
        const names = part.flatMap((i) => [
          keys.history(shard, channels[i]!.key),
          keys.meta(shard, channels[i]!.key),
        ]);
        const args = [
          freshEpoch(),
          this.#link.deadlineMs,
          this.#options.emptyMs,
          ...part.map((i) => channels[i]!.rule.ttlMs + POSITION_EXTRA_TTL_MS),
        ];
        const call = this.#link.runInTime((redis) => runScript(redis, POSITIONS, names, args));
        calls.push(
          call.then((reply) => {
            const flat = reply as (number | string)[];
            for (let n = 0; n < part.length; n++) {
              positions[part[n]!] = { offset: flat[n * 2] as number, epoch: flat[n * 2 + 1] as string };
            }
          }),
        );
      }
    }
    await Promise.all(calls);
    return positions;
  }
}

/** Asked for one by one, random bytes cost a batch some microseconds. */
const randoms = Buffer.alloc(EPOCH_BYTES * 128);
let randomsUsed = randoms.length;

/** Never of a generator that a restart begins anew. */
function freshEpoch(): string {
  if (randomsUsed === randoms.length) {
    randomFillSync(randoms);
    randomsUsed = 0;
  }
  return randoms.toString("base64url", randomsUsed, (randomsUsed += EPOCH_BYTES));
}

/** A page outlives the socket's buffer that its views lie in. */
function withOwnBytes(publication: BusPublication): BusPublication {
  const { payload } = publication;
  return { ...publication, payload: { ...payload, bytes: Uint8Array.from(payload.bytes) } };
}
