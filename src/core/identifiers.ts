import { randomFillSync } from "node:crypto";

const SECRET_BYTES = 16;
/** Random bytes are drawn in blocks: a system call for each connection would cost more than the rest of it. */
const block = Buffer.allocUnsafeSlow(SECRET_BYTES * 256);
let used = block.length;

/** 128 random bits in base64url: 22 characters, none of them a dot. */
export function randomSecret(): string {
  if (used === block.length) {
    randomFillSync(block);
    used = 0;
  }
  const secret = block.toString("base64url", used, used + SECRET_BYTES);
  used += SECRET_BYTES;
  return secret;
}

/** Of Number.MAX_SAFE_INTEGER, to the base 36. */
const COUNT_DIGITS_MAX = 11;

/**
 * Ids of connections: `<node>.<start><count>`, unique over nodes and over the
 * restarts of one that keeps its name.
 */
export function connectionIds(nodeId: string): () => string {
  const prefix = `${nodeId}.${Math.floor(Date.now() / 1000).toString(36)}`;
  let count = 0;
  // Out of one buffer, a flat string: a concatenation would keep its parts alive beside it.
  const text = Buffer.alloc(prefix.length + COUNT_DIGITS_MAX);
  text.write(prefix, "latin1");
  return () => {
    const digits = text.write((count++).toString(36), prefix.length, "latin1");
    return text.toString("latin1", 0, prefix.length + digits);
  };
}

/** @returns the node that a connection is or was on */
export function nodeOfConnection(connectionId: string): string {
  return connectionId.slice(0, connectionId.lastIndexOf("."));
}
