/**
 * What the user of the URL must be allowed, asked at the start and where a reload needs more: a script without XADD or
 * a registry without ZREM would else fail with the first client that needs it. docs/redis.md has the rule that allows
 * all of it.
 */

import { ReplyError } from "ioredis";

import { mastersOf, type RedisClient } from "./client.js";
import { EVERY_USE, neededCalls, type NeededCall } from "./needed-commands.js";
import { type RedisOptions } from "./redis-options.js";
import { loadScript, runScript } from "./scripts.js";
import { address } from "./redis-url.js";

const ACL_CHECK = loadScript("acl-check");

/**
 * @param sharded  whether the bus is: on a Cluster
 * @throws Error naming what is not allowed; what the client rejects with
 */
export async function checkAcl(
  redis: RedisClient,
  { url, prefix, use = EVERY_USE }: RedisOptions,
  sharded: boolean,
): Promise<void> {
  const needed = neededCalls(use, prefix, sharded);
  // Each server has users of its own.
  for (const server of mastersOf(redis)) {
    const refused = await refusedOf(server, needed);
    if (refused.length > 0) throw refusal(url, `NOPERM: it may not use ${describe(refused, needed, prefix)}`);
  }
}

async function refusedOf(server: RedisClient, needed: readonly NeededCall[]): Promise<NeededCall[]> {
  const calls = JSON.stringify(needed.map(({ call }) => call));
  const indexes = (await runScript(server, ACL_CHECK, [], [calls])) as number[];
  return indexes.map((index) => needed[index]!);
}

function describe(refused: readonly NeededCall[], needed: readonly NeededCall[], prefix: string): string {
  const allOf = (on: NeededCall["on"]): readonly string[] | undefined => {
    const all = needed.filter((call) => call.on === on);
    return all.every((call) => refused.includes(call)) ? all.map(({ name }) => name) : undefined;
  };
  if (allOf("key") !== undefined) return `keys that begin with ${prefix}`;
  const channels = allOf("channel");
  if (channels !== undefined) return `channels that begin with ${prefix} (${channels.join(" and ")})`;
  return [...new Set(refused.map(({ neededBy }) => neededBy))]
    .map((by) => {
      const names = refused.filter(({ neededBy }) => neededBy === by).map(({ name }) => name);
      return by === undefined ? names.join(", ") : `${names.join(", ")} (for ${by})`;
    })
    .join(", ");
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
