/** Channel history of a node that runs alone: what the broker's process holds ends with it. */

import { randomBytes } from "node:crypto";

import type { BusPublication, ChannelKey, HistoryPage, HistoryQuery, HistoryRule } from "../core/broker.js";
import type { Position } from "../core/publication.js";

/**
 * How much longer than its history the epoch and offsets of a channel live, from when it was last
 * published to or looked at. Then it starts anew with another epoch.
 */
const POSITION_EXTRA_TTL_MS = 600_000;
/** Of payloads in all channels together. */
const BYTES_MAX = 256 * 1024 * 1024;
/** Channels that were published to, at about 300 bytes each. */
const CHANNELS_MAX = 200_000;
/** Those that were only looked at, which anybody may do with any number of names. */
const LOOKED_AT_MAX = 100_000;
/** Message ids that are remembered, at about 200 bytes each. */
const MESSAGE_IDS_MAX = 200_000;
/** What expired is looked for a little with each publication. */
const SWEEP_CHANNELS = 2;
const EPOCH_BYTES = 9;

export type Kept = BusPublication & { readonly position: Position };

interface Channel {
  readonly epoch: string;
  /** The last offset that was given. */
  top: number;
  kept: Kept[];
  bytes: number;
  /** Of what is kept. */
  expiresAtMs: number;
  /** Of the offsets. */
  endsAtMs: number;
}

interface KnownMessage {
  readonly position: Position;
  readonly expiresAtMs: number;
}

export class MemoryHistory {
  readonly #windowMs: number;
  readonly #emptyMs: number;
  /** Least recently published first. */
  readonly #channels = new Map<ChannelKey, Channel>();
  /** That were never published to: least recently looked at first, which is the first to end. They displace no others. */
  readonly #lookedAt = new Map<ChannelKey, Channel>();
  /** By key and message id, oldest first. */
  readonly #knownMessages = new Map<string, KnownMessage>();
  readonly #started = randomBytes(EPOCH_BYTES).toString("base64url");
  #epochs = 0;
  #bytes = 0;
  #sweeping: MapIterator<[ChannelKey, Channel]> | undefined;

  /**
   * @param windowMs  for how long a repetition of a messageId is known as one
   * @param emptyMs  how long a channel's epoch is kept that was only looked at
   */
  constructor(windowMs: number, emptyMs: number) {
    this.#windowMs = windowMs;
    this.#emptyMs = emptyMs;
  }

  /** The position of the publication that had this id within the window. */
  positionOf(key: ChannelKey, messageId: string): Position | undefined {
    const known = this.#knownMessages.get(messageKey(key, messageId));
    return known !== undefined && known.expiresAtMs > Date.now() ? known.position : undefined;
  }

  append(publication: BusPublication, rule: HistoryRule, messageId: string | undefined): Kept {
    const nowMs = Date.now();
    const { key, payload } = publication;
    const channel = this.#openChannel(key, rule, nowMs);
    const kept = { ...publication, position: { offset: ++channel.top, epoch: channel.epoch } };
    channel.kept.push(kept);
    channel.bytes += payload.bytes.length;
    this.#bytes += payload.bytes.length;
    const most = rule.bytes ?? Infinity;
    while (channel.kept.length > rule.size || (channel.bytes > most && channel.kept.length > 1)) {
      this.#dropOldest(channel);
    }
    channel.expiresAtMs = nowMs + rule.ttlMs;
    channel.endsAtMs = channel.expiresAtMs + POSITION_EXTRA_TTL_MS;
    this.#lookedAt.delete(key);
    this.#channels.delete(key);
    this.#channels.set(key, channel);
    if (messageId !== undefined) this.#remember(messageKey(key, messageId), kept.position, nowMs);
    this.#bound(nowMs);
    return kept;
  }

  read(
    key: ChannelKey,
    { rule, since, limit, reverse, maxBytes = Infinity, peek }: HistoryQuery,
  ): HistoryPage {
    if (peek === true && this.#findChannel(key, Date.now()) === undefined) {
      return { publications: [], top: { offset: 0, epoch: this.#freshEpoch() } };
    }
    const channel = this.#openChannel(key, rule, Date.now());
    const top = { offset: channel.top, epoch: channel.epoch };
    if (since !== undefined && since.epoch !== channel.epoch) return { publications: [], top };
    const { kept } = channel;
    // Offsets have no gaps: where a position lies is reckoned, not looked for.
    const oldest = channel.top - kept.length + 1;
    let low = Math.max(0, kept.length - rule.size);
    let high = kept.length;
    if (since !== undefined && reverse) high = Math.min(high, since.offset - oldest);
    else if (since !== undefined) low = Math.max(low, since.offset + 1 - oldest);
    const publications: Kept[] = [];
    let bytes = 0;
    while (low < high && publications.length < limit && bytes < maxBytes) {
      const publication = kept[reverse ? --high : low++]!;
      publications.push(publication);
      bytes += publication.payload.bytes.length;
    }
    return { publications, top, more: limit > 0 && low < high };
  }

  top(key: ChannelKey, rule: HistoryRule): Position {
    const { top, epoch } = this.#openChannel(key, rule, Date.now());
    return { offset: top, epoch };
  }

  #openChannel(key: ChannelKey, rule: HistoryRule, nowMs: number): Channel {
    let channel = this.#findChannel(key, nowMs);
    if (channel === undefined) {
      channel = { epoch: this.#freshEpoch(), top: 0, kept: [], bytes: 0, expiresAtMs: 0, endsAtMs: 0 };
    }
    if (channel.expiresAtMs <= nowMs) this.#empty(channel);
    const keptMs = channel.top === 0 ? this.#emptyMs : rule.ttlMs + POSITION_EXTRA_TTL_MS;
    channel.endsAtMs = Math.max(channel.endsAtMs, nowMs + keptMs);
    if (channel.top === 0) {
      this.#lookedAt.delete(key);
      this.#lookedAt.set(key, channel);
      this.#bound(nowMs);
    }
    return channel;
  }

  #findChannel(key: ChannelKey, nowMs: number): Channel | undefined {
    const channel = this.#channels.get(key) ?? this.#lookedAt.get(key);
    if (channel === undefined || channel.endsAtMs > nowMs) return channel;
    this.#forget(key, channel);
    return undefined;
  }

  #freshEpoch(): string {
    return `${this.#started}.${++this.#epochs}`;
  }

  #remember(name: string, position: Position, nowMs: number): void {
    // A repetition after the window takes its place at the end.
    this.#knownMessages.delete(name);
    this.#knownMessages.set(name, { position, expiresAtMs: nowMs + this.#windowMs });
    for (const [oldest, { expiresAtMs }] of this.#knownMessages) {
      if (expiresAtMs > nowMs && this.#knownMessages.size <= MESSAGE_IDS_MAX) break;
      this.#knownMessages.delete(oldest);
    }
  }

  /** Drops what expired, and what is over the bounds: least recently published first. */
  #bound(nowMs: number): void {
    for (let i = 0; i < SWEEP_CHANNELS; i++) {
      this.#sweeping ??= this.#channels.entries();
      const next = this.#sweeping.next();
      if (next.done === true) {
        this.#sweeping = undefined;
        break;
      }
      const [key, channel] = next.value;
      if (channel.endsAtMs <= nowMs) this.#forget(key, channel);
      else if (channel.expiresAtMs <= nowMs) this.#empty(channel);
    }
    while (this.#bytes > BYTES_MAX || this.#channels.size > CHANNELS_MAX) {
      const [oldest] = this.#channels;
      if (oldest === undefined) return;
      this.#forget(...oldest);
    }
    for (const [oldest, { endsAtMs }] of this.#lookedAt) {
      if (endsAtMs > nowMs && this.#lookedAt.size <= LOOKED_AT_MAX) break;
      this.#lookedAt.delete(oldest);
    }
  }

  #dropOldest(channel: Channel): void {
    const bytes = channel.kept.shift()!.payload.bytes.length;
    channel.bytes -= bytes;
    this.#bytes -= bytes;
  }

  #empty(channel: Channel): void {
    this.#bytes -= channel.bytes;
    channel.bytes = 0;
    channel.kept = [];
  }

  #forget(key: ChannelKey, channel: Channel): void {
    this.#empty(channel);
    this.#channels.delete(key);
    this.#lookedAt.delete(key);
  }
}

function messageKey(key: ChannelKey, messageId: string): string {
  // Keys have no space in them: a channel's grammar forbids it.
  return `${key} ${messageId}`;
}
