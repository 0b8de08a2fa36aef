import { toBase64 } from "./codec-json.js";

/** 128 random bits. Not crypto.randomUUID: pages without https do not have it. */
export function randomId(): string {
  return toBase64(crypto.getRandomValues(new Uint8Array(16))).slice(0, 22);
}
