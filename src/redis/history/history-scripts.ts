/** The scripts of channel history. Each begins with lua/history-channel.lua. */

import { createHash } from "node:crypto";

import { mastersOf, type RedisClient } from "../link/client.js";
import { knownOrInFull, loadScript, type Script } from "../link/scripts.js";

export const APPEND = withChannel("history-append");
export const READ = withChannel("history-read");
export const POSITIONS = withChannel("history-positions");

function withChannel(name: string): Script {
  const lua = `${loadScript("history-channel").lua}\n${loadScript(name).lua}`;
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
}

/**
 * Makes a new connection's servers know them: of batches that meet NOSCRIPT together, a later
 * one could overtake the others while they are sent again in full.
 */
export async function knowHistoryScripts(redis: RedisClient): Promise<void> {
  await Promise.all(
    mastersOf(redis).flatMap((master) =>
      [APPEND, READ, POSITIONS].map(({ lua }) => master.script("LOAD", lua)),
    ),
  );
}

/** As runScript, but strings come back as bytes. */
export function runForBytes(
  redis: RedisClient,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
): Promise<unknown> {
  return knownOrInFull(
    () => redis.callBuffer("EVALSHA", [script.sha1, keys.length, ...keys, ...args]),
    () => redis.callBuffer("EVAL", [script.lua, keys.length, ...keys, ...args]),
  );
}
