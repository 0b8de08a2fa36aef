/** The Redis user of docs/redis.md, as it is written there: what is tested is what an operator copies. */

import { readFileSync } from "node:fs";

import type { RedisServer } from "./redis-server.js";

const text = readFileSync(new URL("../../docs/redis.md", import.meta.url), "utf8");
const [, written] = /^ *ACL SETUSER starling (.+)$/m.exec(text) ?? [];
if (written === undefined) throw new Error("docs/redis.md has no line ACL SETUSER starling ...");

export const PASSWORD = "pass";
export const RULE: readonly string[] = written.replace(">PASSWORD", `>${PASSWORD}`).split(" ");

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
