/** Signatures of Pusher: hex HMAC-SHA256 by the secret of one of the app's keys. */

import { createHmac, timingSafeEqual } from "node:crypto";
import type { App } from "../../core/app.js";

export function sign(secret: string, text: string): string {
  return createHmac("sha256", secret).update(text).digest("hex");
}

/**
 * In constant time.
 * @param key  of the pair by which it is signed: any of the app's will do
 * @returns unknown_key: the app has no such key
 */
export function checkSignature(
  { keys }: Pick<App, "keys">,
  key: string,
  text: string,
  signature: string,
): "valid" | "wrong" | "unknown_key" {
  const pair = keys.find((candidate) => candidate.key === key);
  if (pair === undefined) return "unknown_key";
  const expected = Buffer.from(sign(pair.secret, text));
  const given = Buffer.from(signature);
  // Its length is no secret.
  return given.length === expected.length && timingSafeEqual(given, expected) ? "valid" : "wrong";
}
