/** Lua scripts: read from ../lua/, sent by hash, in full where Redis does not know them. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import type { RedisClient } from "./client.js";

export interface Script {
  readonly lua: string;
  readonly sha1: string;
}

/** @param name  of the file, without `.lua` */
export function loadScript(name: string): Script {
  const lua = readFileSync(new URL(`../lua/${name}.lua`, import.meta.url), "utf8");
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
}

/** Rejects as the client does: toStarlingError says what that means. */
export function runScript(
  redis: RedisClient,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
): Promise<unknown> {
  return knownOrInFull(
    () => redis.evalsha(script.sha1, keys.length, ...keys, ...args),
    () => redis.eval(script.lua, keys.length, ...keys, ...args),
  );
}

/** What every way to call a script does where Redis does not know it. */
export async function knownOrInFull(byHash: () => unknown, inFull: () => unknown): Promise<unknown> {
  try {
    return await byHash();
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
    return await inFull();
  }
}
