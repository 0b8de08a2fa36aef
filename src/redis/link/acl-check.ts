/**
 * What the user of the URL must be allowed, asked at the start: a script without XADD or a
 * registry without ZREM would else fail with the first client that needs it. docs/redis.md has
 * the rule that allows just this.
 */

import { ReplyError } from "ioredis";

import { mastersOf, type RedisClient } from "./client.js";
import { type RedisOptions } from "./redis-options.js";
import { loadScript, runScript } from "./scripts.js";
import { address } from "./redis-url.js";

const ACL_CHECK = loadScript("acl-check");

type Call = readonly [command: string, ...args: string[]];

/** Arguments that each command takes after a key: Redis tells only of calls that are well formed. */
const KEYED: Readonly<Record<string, readonly string[]>> = {
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
};

/**
 * @param sharded  whether the bus is: on a Cluster
 * @throws Error naming what is not allowed; what the client rejects with
 */
export async function checkAcl(
  redis: RedisClient,
  { url, prefix }: RedisOptions,
  sharded: boolean,
): Promise<void> {
  const keyed = Object.entries(KEYED).map(([command, args]): Call => [command, `${prefix}rights`, ...args]);
  const channel = `${prefix}rights`;
  const bus: Call[] = sharded
    ? [["SPUBLISH", channel, ""], ["SSUBSCRIBE", channel]] // prettier-ignore
    : [["PUBLISH", channel, ""], ["SUBSCRIBE", channel]]; // prettier-ignore
  const calls: Call[] = [...keyed, ...bus, ["EVAL", "", "0"], ["INFO"], ["TIME"], ["SCRIPT", "LOAD", ""]];
  // Each server has users of its own.
  for (const server of mastersOf(redis)) {
    const refused = await refusedOf(server, calls);
    if (refused.length === 0) continue;
    const names = refused.map((at) => commandOf(calls[at]!));
    const what = keyed.every((_, at) => refused.includes(at))
      ? `keys that begin with ${prefix}`
      : bus.every((call) => refused.includes(calls.indexOf(call)))
        ? `channels that begin with ${prefix} (${bus.map(commandOf).join(" and ")})`
        : names.join(", ");
    throw refusal(url, `NOPERM: it may not use ${what}`);
  }
}

async function refusedOf(server: RedisClient, calls: readonly Call[]): Promise<number[]> {
  return (await runScript(server, ACL_CHECK, [], [JSON.stringify(calls)])) as number[];
}

function commandOf([command, subcommand]: Call): string {
  return command === "SCRIPT" ? `SCRIPT ${subcommand}` : command;
}

/** Whether trying again is of no use until somebody changes the ACL. */
export function isAclRefusal(error: unknown): error is Error {
  return error instanceof ReplyError && (error as Error).message.startsWith("NOPERM");
}

/** What a start ends with: the error, or what to do where Redis's own words do not say it. */
export function explainStartFailure(error: unknown, url: string): unknown {
  if (isAclRefusal(error)) return refusal(url, error.message);
  if (!/\bMOVED \d/.test(String(error))) return error;
  const message = `Redis at ${address(url)} is part of a Cluster: use redis+cluster://`;
  return new Error(message, { cause: error });
}

function refusal(url: string, reason: string): Error {
  return new Error(
    `Redis at ${address(url)} refuses its user: ${reason}; ` +
      "docs/redis.md has the ACL rule that the user needs, channels included",
  );
}
