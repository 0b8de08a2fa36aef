/** A node's lease: while it stands the node's state in Redis is its own, and no other node reaps it. */

import { randomUUID } from "node:crypto";

import type { Log } from "../../core/log.js";
import { isReady, type RedisClient } from "../link/client.js";
import { FORMAT } from "../link/fleet-format.js";
import type { Keys } from "../link/keys.js";
import { throttle } from "../link/throttle.js";
import { loadScript, runScript } from "../link/scripts.js";

const CLAIM = loadScript("lease-claim");
const RENEW = loadScript("lease-renew");
const END = loadScript("lease-end");
const ANNOUNCE = loadScript("nodes-announce");

/** What outlives the lease, for when no node is left to reap it. */
const HASH_TTLS = 6;
const RETRY_MS = 100;
const REPORT_INTERVAL_MS = 5_000;

export interface LeaseOptions {
  readonly nodeId: string;
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly leaseTtlMs: number;
  readonly log: Log;
  /** Called while this node is on the list of nodes, before it stands and after each renewal. Never rejects. */
  announced(): Promise<void>;
  /** Writes everything anew into the emptied hash; rejects if something could not be written. */
  rewrite(): Promise<void>;
  /** Called on each change. */
  registered(registered: boolean): void;
}

/** none: not ours. claimed: ours, the state is being written. standing: registered. */
type State = "none" | "claimed" | "standing";

export class Lease {
  readonly #startedAt = Math.floor(Date.now() / 1000);
  readonly #incarnation = randomUUID();
  #registration = 0;
  #value = "";
  /** Of the server, when the lease was claimed. */
  #serverIncarnation = "";
  readonly hashTtlMs: number;
  readonly #options: LeaseOptions;
  readonly #names: readonly [lease: string, connections: string];
  #state: State = "none";
  /** performance.now() when the renewal that last succeeded was sent: it ends no sooner in Redis. */
  #renewedMs = -Infinity;
  /** performance.now() when this node registered again. */
  #againMs = -Infinity;
  #registering = false;
  #renewing = false;
  #stopped = false;
  #beatTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  readonly #reportTaken: () => void;
  readonly #onReady = (): void => this.#beat();

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#names = [options.keys.node(options.nodeId), options.keys.connections(options.nodeId)];
    this.hashTtlMs = options.leaseTtlMs * HASH_TTLS;
    this.#reportTaken = throttle(REPORT_INTERVAL_MS, () => {
      options.log.error({}, "another running node has this node's id: stop one of the two");
    });
  }

  /** Names the registration that is in force: what every write compares, so that a late one fails. */
  get value(): string {
    return this.#value;
  }

  /** Whether the hash may be written: ours, as far as is known. */
  get claimed(): boolean {
    return this.#state !== "none";
  }

  /**
   * Registers for the first time. A lease of an earlier start of the same node
   * is waited out; one that is renewed meanwhile is a living node's.
   * @throws Error NODE_ID_IN_USE; what ioredis throws
   */
  async start(): Promise<void> {
    await this.#acquire();
    this.#registering = true;
    try {
      await this.#register();
    } finally {
      this.#registering = false;
    }
    if (this.#state !== "standing") throw new Error("the registration expired while it was made");
    this.#beatTimer = setInterval(() => this.#beat(), this.#options.leaseTtlMs / 3);
    this.#options.redis.on("ready", this.#onReady);
  }

  /**
   * Whether the lease can be relied on at this time: a comparison, no I/O. If it
   * may have lapsed, says so by registered(false) and registers again.
   */
  check(nowMs: number): boolean {
    if (this.#state === "none") return false;
    if (nowMs - this.#renewedMs > this.#options.leaseTtlMs) {
      this.lapse("it was not renewed in time");
      return false;
    }
    return this.#state === "standing";
  }

  /** Whether this node's lease stands, and stood long enough for others to have theirs back after an outage of all. */
  get settled(): boolean {
    return this.#state === "standing" && performance.now() - this.#againMs > this.#options.leaseTtlMs;
  }

  /** It was seen that the lease is gone. */
  lapse(reason: string): void {
    if (this.#state === "none" || this.#stopped) return;
    const stood = this.#state === "standing";
    this.#state = "none";
    this.#options.log.warn({ reason }, "the registration expired: registering again");
    if (stood) this.#options.registered(false);
    this.#beat();
  }

  /** No more renewals; end() may follow. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#beatTimer);
    clearTimeout(this.#retryTimer);
    this.#options.redis.off("ready", this.#onReady);
  }

  /** Leaves nothing of this node in Redis, unless another incarnation has it now. */
  async end(): Promise<void> {
    const { redis, keys, nodeId } = this.#options;
    if (this.#state === "none") return;
    this.#state = "none";
    if ((await runScript(redis, END, this.#names, [this.#value])) === 1) await redis.zrem(keys.nodes, nodeId);
  }

  async #acquire(): Promise<void> {
    const { nodeId, leaseTtlMs, log } = this.#options;
    let before = Infinity;
    let deadlineMs: number | undefined;
    while (!this.#stopped) {
      const remainingMs = await this.#claim();
      if (remainingMs === undefined) return;
      const nowMs = performance.now();
      if (deadlineMs === undefined) {
        log.info({ remainingMs }, "waiting for the lease of an earlier start of this node");
        deadlineMs = nowMs + remainingMs + leaseTtlMs / 4;
      }
      if (remainingMs > before || nowMs > deadlineMs) {
        const message = `node id ${JSON.stringify(nodeId)} is in use by another running node; choose another --node-id or leave it out`;
        throw Object.assign(new Error(message), { code: "NODE_ID_IN_USE" });
      }
      before = remainingMs;
      await new Promise<void>((resolve) => setTimeout(resolve, Math.min(remainingMs + 1, leaseTtlMs / 4)));
    }
    throw new Error("stopped before the node was registered");
  }

  /** @returns undefined if taken, else the milliseconds that another's lease still has */
  async #claim(): Promise<number | undefined> {
    const sentMs = performance.now();
    const { redis, leaseTtlMs } = this.#options;
    this.#registration++;
    this.#value = JSON.stringify({
      startedAt: this.#startedAt,
      incarnation: this.#incarnation,
      registration: this.#registration,
      reads: FORMAT,
    });
    const reply = await runScript(redis, CLAIM, this.#names, [this.#value, leaseTtlMs]);
    const [remainingMs, serverIncarnation] = reply as [number, string];
    if (remainingMs !== -1) return remainingMs;
    this.#serverIncarnation = serverIncarnation;
    this.#renewedMs = sentMs;
    this.#state = "claimed";
    return undefined;
  }

  /** After a claim: the state is written, then it stands. */
  async #register(): Promise<void> {
    try {
      await this.#announce();
      await this.#options.rewrite();
    } catch (error) {
      this.#state = "none";
      throw error;
    }
    if (this.#state !== "claimed" || this.#stopped) return;
    this.#state = "standing";
    this.#options.registered(true);
  }

  #beat(): void {
    if (this.#stopped) return;
    this.check(performance.now());
    if (!isReady(this.#options.redis)) return;
    if (this.#state === "none") void this.#reregister();
    else void this.#renew();
  }

  async #renew(): Promise<void> {
    if (this.#renewing) return;
    this.#renewing = true;
    const { redis, leaseTtlMs, log } = this.#options;
    try {
      const sentMs = performance.now();
      const args = [this.#value, leaseTtlMs, this.hashTtlMs, this.#serverIncarnation];
      const reply = await runScript(redis, RENEW, this.#names, args);
      // Of a registration that was made meanwhile it says nothing.
      if (args[0] !== this.#value) return;
      if (reply !== 1) {
        this.lapse(reply === 0 ? "it is missing in Redis" : "Redis restarted, or another server took over");
        return;
      }
      this.#renewedMs = Math.max(this.#renewedMs, sentMs);
      await this.#announce();
    } catch (error) {
      log.debug({ error: String(error) }, "lease not renewed");
    } finally {
      this.#renewing = false;
    }
  }

  async #reregister(): Promise<void> {
    if (this.#registering) return;
    this.#registering = true;
    const { log } = this.#options;
    try {
      const heldMs = await this.#claim();
      if (heldMs === undefined) {
        this.#againMs = performance.now();
        await this.#register();
      } else {
        this.#reportTaken();
      }
    } catch (error) {
      log.warn({ error: String(error) }, "registering again failed: retrying");
    } finally {
      this.#registering = false;
      if (this.#state === "none") this.#retrySoon();
    }
  }

  #retrySoon(): void {
    if (this.#stopped) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#beat(), RETRY_MS);
  }

  async #announce(): Promise<void> {
    const { redis, keys, nodeId } = this.#options;
    await runScript(redis, ANNOUNCE, [keys.nodes], [nodeId, this.hashTtlMs]);
    await this.#options.announced();
  }
}
