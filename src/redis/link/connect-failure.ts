/** What kept a connection to Redis from being made, in words that help. */

import { ReplyError } from "ioredis";

import type { RedisOptions } from "./redis-options.js";
import { address, parseRedisUrl, secretsOf } from "./redis-url.js";

export interface RedisUnreachable extends Error {
  readonly code: "REDIS_UNREACHABLE";
  readonly reason: string;
  /** What to do about it. */
  readonly hint: string;
  /** Whether it may pass by itself. */
  readonly temporary: boolean;
}

export function isUnreachable(error: unknown): error is RedisUnreachable {
  return error instanceof Error && (error as Partial<RedisUnreachable>).code === "REDIS_UNREACHABLE";
}

/** Names the server, the reason and what to do about it; `temporary` says whether waiting may help. */
export function unreachable(cause: unknown, options: RedisOptions): RedisUnreachable {
  const reason = explain(cause, options);
  const hint = advice(reason, options);
  const message = `cannot reach Redis at ${address(options.url)}: ${reason}; ${hint}`;
  // Not the error itself: ioredis hangs the command on it, and an AUTH carries the password.
  return Object.assign(new Error(message, { cause: new Error(reason) }), {
    ...{ code: "REDIS_UNREACHABLE" as const, reason, hint, temporary: isTemporary(cause, reason) },
  });
}

/** What a server answers until it is ready. */
const NOT_YET =
  /^(LOADING|MASTERDOWN|CLUSTERDOWN|READONLY|TRYAGAIN|BUSY|MISCONF|ERR max number of clients|ERR No such master|IDONTKNOW)/i;
/** Somebody has to change something: a password, an ACL, a certificate, the URL. */
const LASTING =
  /\b(WRONGPASS|NOAUTH|NOPERM|DENIED)\b|invalid password|unknown command|cluster support disabled|Unknown RESP type|certificate|self.signed|altnames|Hostname\/IP|wrong version number|packet length|EPROTO|ERR_(SSL|TLS)/i;

function isTemporary(error: unknown, reason: string): boolean {
  if (LASTING.test(reason)) return false;
  return !(error instanceof ReplyError) || NOT_YET.test(reason);
}

/** An error's text without passwords: old servers repeat a refused HELLO with its arguments. */
export function explain(error: unknown, { url, sentinelPassword }: RedisOptions): string {
  let text = error instanceof Error ? error.message || error.name : String(error);
  const secrets = sentinelPassword === undefined ? secretsOf(url) : [...secretsOf(url), sentinelPassword];
  for (const secret of secrets) text = text.replaceAll(secret, "***");
  text = text.replace(" Please report this.", "");
  // OpenSSL ends its errors with a line end.
  return text.trim();
}

/** Whether the error says what went wrong: that a connection closed only follows what closed it. */
export function namesCause({ message }: Error): boolean {
  return !/Connection is closed|All sentinels are unreachable/i.test(message);
}

/** What to do about it. */
function advice(reason: string, { url, tls }: RedisOptions): string {
  // What the other side did not say: a Redis without TLS waits for more, one with it hangs up.
  const secure = parseRedisUrl(url).tls;
  if (secure && /ETIMEDOUT/.test(reason)) return "use redis instead of rediss if that port has no TLS";
  if (/ECONNRESET|EPIPE|Connection is closed|socket hang up/i.test(reason)) {
    if (!secure) return "it closed the connection: use rediss instead of redis if that port requires TLS";
    if (tls?.cert === undefined)
      return "it closed the connection: if it requires a certificate, give --redis-tls-cert-file";
  }
  if (/alert certificate required/i.test(reason)) {
    return "it requires a certificate of this node: give --redis-tls-cert-file and --redis-tls-key-file";
  }
  if (/altnames|Hostname\/IP/i.test(reason))
    return "the certificate is for another name: give it by --redis-tls-server-name";
  if (/certificate|self.signed/i.test(reason)) {
    return "give the certificate of its authority by --redis-tls-ca-file, or this node's own by --redis-tls-cert-file";
  }
  if (/wrong version number|packet length|EPROTO/i.test(reason)) {
    return "that port has no TLS: use redis instead of rediss";
  }
  if (/DB index is out of range/i.test(reason))
    return "that server does not have the database that the URL names";
  if (/cluster support disabled/i.test(reason)) return "it is not a Cluster: use redis://";
  if (/invalid reply|No such master/i.test(reason)) return "no Sentinel there knows a master of that name";
  if (/unknown command .?sentinel/i.test(reason))
    return "it is not a Sentinel: use redis:// or a Sentinel's port";
  if (/sentinel .* because (NOAUTH|WRONGPASS|NOPERM)/i.test(reason)) {
    return "give the Sentinels' own password by --redis-sentinel-password";
  }
  if (/^READONLY/.test(reason)) return "name the master, or Sentinels that know it";
  if (/^(LOADING|MASTERDOWN|CLUSTERDOWN)/.test(reason)) return "see the log of that server";
  if (/Unknown RESP type/.test(reason)) return "the server there is not Redis";
  if (/WRONGPASS|NOAUTH|NOPERM/.test(reason)) return "see docs/redis.md for the user that Starling needs";
  return "start one or omit --redis";
}
