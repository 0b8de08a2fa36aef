/**
 * The commands that Starling gives to Redis on keys, in scripts and outside of them, by what needs them. A node asks
 * only for those of what it uses: what a version adds for one feature must not stop a node without it.
 */

/** Arguments that each command takes after a key: Redis tells only of calls that are well formed. */
const ARGUMENTS = {
  DEL: [],
  EXISTS: [],
  GET: [],
  HDEL: ["field"],
  HGET: ["field"],
  HLEN: [],
  HMGET: ["field"],
  HSET: ["field", "value"],
  HSETNX: ["field", "value"],
  MGET: [],
  PEXPIRE: ["1"],
  PTTL: [],
  SET: ["value"],
  UNLINK: [],
  XADD: ["*", "field", "value"],
  XRANGE: ["-", "+"],
  XREVRANGE: ["+", "-"],
  ZADD: ["0", "member"],
  ZCARD: [],
  ZLEXCOUNT: ["-", "+"],
  ZRANGE: ["0", "-1"],
  ZRANGEBYLEX: ["-", "+"],
  ZRANGEBYSCORE: ["0", "1"],
  ZREM: ["member"],
  ZSCORE: ["member"],
} as const satisfies Record<string, readonly string[]>;

type KeyedCommand = keyof typeof ARGUMENTS;

/** Leases, the list of nodes, connections and sessions, and the number of shards. */
const NODE = [
  ...["DEL", "EXISTS", "GET", "HDEL", "HGET", "HLEN", "HSET", "HSETNX", "PEXPIRE", "PTTL", "SET", "UNLINK"],
  ...["ZADD", "ZRANGE", "ZREM", "ZSCORE"],
] as const satisfies readonly KeyedCommand[];
const HISTORY = [
  ...["HDEL", "HMGET", "HSET", "MGET", "PEXPIRE", "PTTL", "SET", "UNLINK", "XADD", "XRANGE", "XREVRANGE"],
] as const satisfies readonly KeyedCommand[];
const PRESENCE = [
  ...["GET", "PEXPIRE", "PTTL", "SET", "UNLINK", "ZADD", "ZCARD", "ZLEXCOUNT", "ZRANGE", "ZRANGEBYLEX"],
  ...["ZRANGEBYSCORE", "ZREM", "ZSCORE"],
] as const satisfies readonly KeyedCommand[];

export const NEEDED_BY = { node: NODE, history: HISTORY, presence: PRESENCE } as const;

/** What a node uses of Redis that another may not. */
export interface RedisUse {
  readonly history: boolean;
  readonly presence: boolean;
  readonly ingestChannel: string | undefined;
}

/** Of whoever does not say what it uses. */
export const EVERY_USE: RedisUse = { history: true, presence: true, ingestChannel: undefined };

/** A command with arguments that it is well formed with. */
export interface NeededCall {
  readonly call: readonly string[];
  /** What the user is said to lack. */
  readonly name: string;
  readonly on: "key" | "channel" | "server";
  /** undefined: any node does. */
  readonly neededBy: string | undefined;
}

/**
 * @param prefix  of the keys and channels
 * @param sharded  whether the bus is: on a Cluster
 */
export function neededCalls(use: RedisUse, prefix: string, sharded: boolean): readonly NeededCall[] {
  const name = `${prefix}rights`;
  const calls = new Map<string, NeededCall>();
  const onKeys = (commands: readonly KeyedCommand[], neededBy?: string): void => {
    for (const command of commands) {
      const call = [command, name, ...ARGUMENTS[command]];
      if (!calls.has(command)) calls.set(command, { call, name: command, on: "key", neededBy });
    }
  };
  onKeys(NODE);
  if (use.history) onKeys(HISTORY, "channels with history");
  if (use.presence) onKeys(PRESENCE, "channels with presence");
  const bus = sharded ? (["SPUBLISH", "SSUBSCRIBE"] as const) : (["PUBLISH", "SUBSCRIBE"] as const);
  for (const command of bus) {
    const call = command.endsWith("PUBLISH") ? [command, name, ""] : [command, name];
    calls.set(command, { call, name: command, on: "channel", neededBy: undefined });
  }
  for (const call of [["EVAL", "", "0"], ["INFO"], ["TIME"], ["SCRIPT", "LOAD", ""]]) {
    const told = call[0] === "SCRIPT" ? "SCRIPT LOAD" : call[0]!;
    calls.set(told, { call, name: told, on: "server", neededBy: undefined });
  }
  const { ingestChannel } = use;
  if (ingestChannel !== undefined) {
    const told = `SUBSCRIBE ${ingestChannel}`;
    const call = ["SUBSCRIBE", ingestChannel];
    calls.set(told, { call, name: told, on: "server", neededBy: "ingestChannel" });
  }
  return [...calls.values()];
}
