/** The members on this node, and when each is to say that it is still there. */

import type { ChannelKey } from "../../core/broker.js";
import type { PresenceShard } from "./presence-shard.js";

/** Each member is refreshed twice in its life, in this many shares. */
const REFRESH_SHARES = 30;
const REFRESH_INTERVAL_LEAST_MS = 10;

export interface OwnMember {
  readonly entry: string;
  readonly shard: PresenceShard;
  readonly user: string | null;
  info: string | undefined;
  /** The channel is full: the record does not have it. */
  refused: boolean;
  /** The share that it is refreshed with. */
  readonly share: Set<OwnMember>;
}

const NOBODY: ReadonlyMap<string, OwnMember> = new Map();

export interface OwnMembersOptions {
  /** Of a member that is not refreshed. */
  readonly lifeMs: number;
  /** It is time to say that these are still there. */
  readonly refresh: (members: Iterable<OwnMember>) => void;
}

export class OwnMembers {
  readonly #options: OwnMembersOptions;
  /** By channel, then connection. */
  readonly #channels = new Map<ChannelKey, Map<string, OwnMember>>();
  readonly #intervalMs: number;
  readonly #shares: readonly Set<OwnMember>[];
  #added = 0;
  #refreshed = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: OwnMembersOptions) {
    this.#options = options;
    const halfMs = options.lifeMs / 2;
    this.#intervalMs = Math.max(REFRESH_INTERVAL_LEAST_MS, halfMs / REFRESH_SHARES);
    const shares = Math.max(1, Math.floor(halfMs / this.#intervalMs));
    this.#shares = Array.from({ length: shares }, () => new Set<OwnMember>());
  }

  get(key: ChannelKey, connection: string): OwnMember | undefined {
    return this.#channels.get(key)?.get(connection);
  }

  /** By connection. */
  in(key: ChannelKey): ReadonlyMap<string, OwnMember> {
    return this.#channels.get(key) ?? NOBODY;
  }

  *[Symbol.iterator](): Generator<OwnMember> {
    for (const inChannel of this.#channels.values()) yield* inChannel.values();
  }

  add(
    key: ChannelKey,
    connection: string,
    member: Pick<OwnMember, "entry" | "shard" | "user" | "info">,
  ): OwnMember {
    const { entry, shard, user, info } = member;
    const share = this.#shares[this.#added++ % this.#shares.length]!;
    const own: OwnMember = { entry, shard, user, info, refused: false, share };
    let inChannel = this.#channels.get(key);
    if (inChannel === undefined) this.#channels.set(key, (inChannel = new Map<string, OwnMember>()));
    inChannel.set(connection, own);
    share.add(own);
    this.#timer ??= setInterval(() => this.#refresh(), this.#intervalMs);
    return own;
  }

  /** @returns the member that was there */
  remove(key: ChannelKey, connection: string): OwnMember | undefined {
    const inChannel = this.#channels.get(key);
    const own = inChannel?.get(connection);
    if (inChannel === undefined || own === undefined) return undefined;
    inChannel.delete(connection);
    if (inChannel.size === 0) this.#channels.delete(key);
    own.share.delete(own);
    return own;
  }

  #refresh(): void {
    if (this.#channels.size === 0) this.stop();
    this.#options.refresh(this.#shares[this.#refreshed++ % this.#shares.length]!);
  }

  /** Nobody is refreshed any more, until one is added. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  clear(): void {
    this.stop();
    this.#channels.clear();
    for (const share of this.#shares) share.clear();
  }
}
