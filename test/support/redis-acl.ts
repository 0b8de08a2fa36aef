/** The Redis user of docs/redis.md, as it is written there: what is tested is what an operator copies. */

import { readFileSync } from "node:fs";

import type { RedisServer } from "./redis-server.js";

const text = readFileSync(new URL("../../docs/redis.md", import.meta.url), "utf8");
const [, written] = /^ *ACL SETUSER starling (.+)$/m.exec(text) ?? [];
if (written === undefined) throw new Error("docs/redis.md has no line ACL SETUSER starling ...");

export const PASSWORD = "pass";
export const RULE: readonly string[] = written.replace(">PASSWORD", `>${PASSWORD}`).split(" ");

/** The commands that the table beneath the rule says to be needed `where`. */
export function neededWhere(where: string): readonly string[] {
  const row = text.split("\n").find((line) => line.endsWith(` where a namespace of any app ${where} |`));
  const [, commands] = /^\| `([a-z ]+)` /.exec(row ?? "") ?? [];
  if (commands === undefined)
    throw new Error(`docs/redis.md does not say what is needed where a namespace ${where}`);
  return commands.split(" ");
}

export async function setUser(
  server: RedisServer,
  name: string,
  rule: readonly string[] = RULE,
): Promise<void> {
  const admin = server.client();
  await admin.acl("SETUSER", name, "reset", ...rule);
  admin.disconnect();
}

/** @returns what the server refused to any user */
export async function refusals(server: RedisServer): Promise<unknown[]> {
  const admin = server.client();
  const log = (await admin.call("ACL", "LOG")) as unknown[];
  admin.disconnect();
  return log;
}

export function withUser(url: string, name: string): string {
  return url.replace("://", `://${name}:${PASSWORD}@`);
}
