/**
 * Who is in which channel, over all nodes, in Redis. The record is one per shard and is changed by
 * one script alone (lua/presence-step.lua), which also publishes what changed. Every node writes its own members
 * and sweeps everybody's; nothing depends on one node's life or clock.
 */

import type { ChannelKey } from "../../core/broker.js";
import { StarlingError } from "../../core/errors.js";
import { nodeOfConnection } from "../../core/identifiers.js";
import type { Log } from "../../core/log.js";
import { READ_LIMIT_MAX } from "../../core/limits.js";
import type {
  PresenceCounts,
  PresenceHandlers,
  PresenceMember,
  PresencePage,
  PresenceStore,
} from "../../core/presence.js";
import type { Stats } from "../../core/stats.js";
import { FORMAT_OF_INFOS, FORMAT_OF_NUMBERS, type FleetFormat } from "../link/fleet-format.js";
import { throttle } from "../link/throttle.js";
import type { RedisLink } from "../link/link.js";
import { decodeEntry, decodeEvents, encodeEntry } from "./presence-entries.js";
import { OwnMembers, type OwnMember } from "./own-members.js";
import { PresenceOrder } from "./presence-order.js";
import { PresencePages } from "./presence-pages.js";
import { PresenceShard } from "./presence-shard.js";
import { YoungRecord } from "./young-record.js";
import { shardOf } from "../link/keys.js";

export interface RedisPresenceOptions {
  readonly nodeId: string;
  readonly link: RedisLink;
  readonly format: FleetFormat;
  /**
   * The members of a node that died leave this long after it last refreshed them, where no other node
   * took them out before. At least three graces.
   */
  readonly ttlMs: number;
  /** How long a user without a connection may come back unnoticed. */
  readonly graceMs: number;
  /** One for all nodes, as the bus's. */
  readonly shards: number;
  /** Joins and leaves are gathered for this long. */
  readonly flushIntervalMs?: number | undefined;
  /** Members that one page names at most. */
  readonly maxMembers?: number | undefined;
  readonly stats: Stats;
  readonly log: Log;
}

const FLUSH_INTERVAL_MS = 20;
const GRACES_PER_TTL_LEAST = 3;
const SWEEP_INTERVAL_MOST_MS = 1_000;
/** Redis counts a grace in whole milliseconds, and a timer may be one early. */
const MARGIN_MS = 5;
const SKIP_LOG_INTERVAL_MS = 1_000;

/** @throws Error if the options contradict each other */
export function createRedisPresence(options: RedisPresenceOptions): PresenceStore {
  return new RedisPresence(options);
}

class RedisPresence implements PresenceStore {
  readonly #options: RedisPresenceOptions;
  readonly #link: RedisLink;
  readonly #graceMs: number;
  readonly #shards: readonly PresenceShard[];
  /** By shard. */
  readonly #orders: readonly PresenceOrder[];
  readonly #own: OwnMembers;
  readonly #pages: PresencePages;
  readonly #reportSkipped: (error: unknown) => void;
  #handlers: PresenceHandlers | undefined;
  #missedTimer: NodeJS.Timeout | undefined;
  #young: YoungRecord | undefined;
  #youngTimer: NodeJS.Timeout | undefined;
  #settledTimer: NodeJS.Timeout | undefined;
  #wasUp = false;
  #open = false;
  #stopping: Promise<void> | undefined;

  constructor(options: RedisPresenceOptions) {
    this.#options = options;
    const { link, ttlMs, graceMs, log } = options;
    this.#link = link;
    this.#graceMs = graceMs;
    if (ttlMs < graceMs * GRACES_PER_TTL_LEAST) {
      throw new Error(
        `presence: a time-to-live of ${ttlMs} ms is too short for a grace of ${graceMs} ms: ` +
          `at least ${graceMs * GRACES_PER_TTL_LEAST} ms`,
      );
    }
    // Who lapses gets the grace too, so that after an outage nobody leaves who is written again.
    const lifeMs = ttlMs - graceMs;
    this.#own = new OwnMembers({ lifeMs, refresh: (members) => this.#refresh(members) });
    this.#shards = Array.from(
      { length: options.shards },
      (_, shard) =>
        new PresenceShard({
          shard,
          link,
          format: options.format,
          lifeMs,
          graceMs,
          keysTtlMs: ttlMs * 2,
          flushIntervalMs: options.flushIntervalMs ?? FLUSH_INTERVAL_MS,
          sweepIntervalMs: Math.min(SWEEP_INTERVAL_MOST_MS, Math.max(graceMs / 3, 50)),
          log,
          lost: () => this.#recordLost(shard),
          young: () => this.#metYoung(),
          refused: (entry) => this.#refused(entry),
          counted: (count) => this.#orders[shard]!.counted(count),
        }),
    );
    this.#orders = this.#shards.map(
      () =>
        new PresenceOrder({
          patienceMs: link.commandTimeoutMs,
          event: (event) => {
            this.#young?.event(event);
            this.#guard(() => this.#handlers?.event(event));
          },
          missed: () => this.#tellMissed(),
        }),
    );
    this.#pages = new PresencePages({
      shards: this.#shards,
      orders: this.#orders,
      told: (key, page) => this.#young?.page(key, page),
      guard: (tell) => this.#guard(tell),
      skipped: (error) => this.#skipped(error),
    });
    this.#reportSkipped = throttle(SKIP_LOG_INTERVAL_MS, (suppressed, error: unknown) => {
      log.warn({ suppressed, error: String(error) }, "skipped presence events that could not be read");
    });
  }

  async start(handlers: PresenceHandlers): Promise<void> {
    const { nodeId, log } = this.#options;
    this.#handlers = handlers;
    this.#shards.forEach((_, shard) => {
      this.#link.subscribe(this.#link.keys.presenceEvents(shard), (bytes) =>
        this.#receiveEvents(shard, bytes),
      );
    });
    await this.#link.open();
    this.#open = true;
    this.#link.onChange((up) => this.#linkChanged(up));
    // Joins were told without infos, and updates were not, as long as an older node was there.
    this.#options.format.onChange?.((before, settledMs) => {
      if (before >= FORMAT_OF_INFOS || this.#options.format.oldest < FORMAT_OF_INFOS) return;
      clearTimeout(this.#settledTimer);
      this.#settledTimer = setTimeout(() => this.#tellMissed(), settledMs);
    });
    await Promise.all(this.#shards.map((shard) => shard.start()));
    // An earlier start of this node may have died with members.
    void this.takeOut(nodeId, () => Promise.resolve(true)).catch((error: unknown) => {
      log.warn({ error: String(error) }, "members of an earlier start expire by themselves");
    });
  }

  join(key: ChannelKey, member: PresenceMember): void {
    this.#join(key, member, undefined);
  }

  async enter(
    key: ChannelKey,
    member: PresenceMember,
    { usersMost, limit }: { readonly usersMost: number; readonly limit: number },
    tell: (page: PresencePage) => void,
  ): Promise<boolean> {
    this.#join(key, member, usersMost);
    const own = this.#own.get(key, member.connection);
    let entered = false;
    await this.members(key, limit, (page) => {
      // Who was refused, or could not be written, is not in the page.
      if (own === undefined || own.refused || own.shard.queue.isEntering(own.entry)) return;
      entered = true;
      tell(page);
    });
    if (entered) return true;
    if (own?.refused === true) return false;
    throw new StarlingError(
      "unavailable",
      "who joins a channel that has presence could not be written: try again",
    );
  }

  #refused(entry: string): void {
    const { key, member } = decodeEntry(entry);
    const own = this.#own.get(key, member.connection);
    if (own?.entry !== entry) return;
    own.refused = true;
    this.#own.remove(key, member.connection);
  }

  #join(key: ChannelKey, given: PresenceMember, usersMost: number | undefined): void {
    if (this.#stopping !== undefined) return;
    // Nodes of before would not read it.
    const { userIsNumber, ...plain } = given;
    const readsNumbers = this.#options.format.oldest >= FORMAT_OF_NUMBERS;
    const member = userIsNumber === true && readsNumbers ? given : plain;
    const { connection, user, info } = member;
    const former = this.#own.get(key, connection);
    if (former?.user === user) {
      if (former.info !== info) former.shard.queue.update(former.entry, (former.info = info));
      return;
    }
    // It is somebody else from now on.
    if (former !== undefined) this.leave(key, member);
    const shard = this.#shardOf(key);
    const own = this.#own.add(key, connection, { entry: encodeEntry(key, member), shard, user, info });
    shard.queue.join(own.entry, info, usersMost);
  }

  leave(key: ChannelKey, { connection }: PresenceMember): void {
    const own = this.#own.remove(key, connection);
    own?.shard.queue.leave(own.entry);
  }

  connectionsHere(key: ChannelKey, user: string): readonly string[] {
    const here: string[] = [];
    for (const [connection, own] of this.#own.in(key)) if (own.user === user) here.push(connection);
    return here;
  }

  members(key: ChannelKey, limit: number, tell?: (page: PresencePage) => void): Promise<PresencePage> {
    return this.#pages.read(key, Math.min(limit, this.#options.maxMembers ?? READ_LIMIT_MAX), tell);
  }

  async counts(key: ChannelKey): Promise<PresenceCounts> {
    const { connections, users } = await this.members(key, 0);
    return { connections, users };
  }

  async takeOut(node: string, stillDead: () => Promise<boolean>): Promise<void> {
    // A node whose channels have no presence need not be allowed it: others take them out, or their time-to-live does.
    if (!this.#link.use.presence) return;
    for (const shard of this.#shards) await shard.takeOut((entry) => this.#isOf(node, entry), stillDead);
  }

  /** A connection of the node, but none that is here: an earlier start of this node may have had its id. */
  #isOf(node: string, entry: string): boolean {
    try {
      const { key, member } = decodeEntry(entry);
      return (
        nodeOfConnection(member.connection) === node && this.#own.get(key, member.connection) === undefined
      );
    } catch {
      return false;
    }
  }

  writeAgain(): void {
    this.#writeAgain(false, this.#shards);
  }

  #shardOf(key: ChannelKey): PresenceShard {
    return this.#shards[shardOf(key, this.#shards.length)]!;
  }

  #receiveEvents(shard: number, bytes: Buffer): void {
    let told;
    try {
      told = decodeEvents(bytes);
      for (const event of told.events) {
        if (event !== undefined && shardOf(event.key, this.#shards.length) !== shard) {
          throw new Error("an event of another shard");
        }
      }
    } catch (error) {
      this.#skipped(error);
      return;
    }
    if (told.problem !== undefined) this.#skipped(told.problem);
    this.#orders[shard]!.receive(told);
  }

  #skipped(error: unknown): void {
    this.#options.stats.envelopesSkipped++;
    this.#reportSkipped(error);
  }

  #guard(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#options.stats.sessionFaults++;
      this.#options.log.error({ err: error }, "the handler of a presence event threw");
    }
  }

  #refresh(members: Iterable<OwnMember>): void {
    // Once it is up again all are written.
    if (this.#link.down !== undefined) return;
    for (const own of members) own.shard.queue.refresh(own.entry);
  }

  #linkChanged(up: boolean): void {
    for (const order of this.#orders) order.reset();
    if (!up || this.#stopping !== undefined) return;
    if (this.#wasUp) {
      this.#writeAgain(false, this.#shards);
      this.#tellMissed();
    }
    this.#wasUp = true;
    for (const shard of this.#shards) void shard.flush();
  }

  #recordLost(shard: number): void {
    this.#options.log.warn(
      { shard },
      "Redis lost the record of presence: this node's members are written again",
    );
    this.#writeAgain(true, [this.#shards[shard]!]);
    this.#tellMissed();
  }

  #writeAgain(lost: boolean, shards: readonly PresenceShard[]): void {
    for (const { entry, shard } of this.#own) if (shards.includes(shard)) shard.queue.writeAgain(entry, lost);
  }

  #metYoung(): void {
    const young = (this.#young ??= new YoungRecord());
    clearTimeout(this.#youngTimer);
    if (this.#stopping !== undefined) return;
    this.#youngTimer = setTimeout(() => void this.#look(young), this.#graceMs + MARGIN_MS);
  }

  /** By now the other nodes have written what they have. */
  async #look(young: YoungRecord): Promise<void> {
    try {
      if (await young.lacked((key, tell) => this.#pages.read(key, 0, tell))) {
        this.#guard(() => this.#handlers?.missed?.());
      }
    } catch {
      // Redis was away.
      this.#tellMissed();
    } finally {
      this.#young = undefined;
    }
  }

  /** After a grace: by then the other nodes have written what they have, too. */
  #tellMissed(): void {
    clearTimeout(this.#missedTimer);
    if (this.#stopping !== undefined) return;
    const delayMs = this.#graceMs + MARGIN_MS;
    this.#missedTimer = setTimeout(() => this.#guard(() => this.#handlers?.missed?.()), delayMs);
  }

  stop(): Promise<void> {
    return (this.#stopping ??= this.#end());
  }

  async #end(): Promise<void> {
    this.#own.stop();
    clearTimeout(this.#missedTimer);
    clearTimeout(this.#settledTimer);
    clearTimeout(this.#youngTimer);
    for (const { entry, shard } of this.#own) shard.queue.leave(entry);
    this.#own.clear();
    if (this.#open && this.#link.down === undefined) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, this.#link.commandTimeoutMs);
      });
      await Promise.race([Promise.all(this.#shards.map((shard) => shard.flush())), late]);
      clearTimeout(timer);
    }
    for (const shard of this.#shards) shard.close();
    for (const order of this.#orders) order.reset();
    if (!this.#open) return;
    this.#open = false;
    await this.#link.close();
  }
}
