const encoder = new TextEncoder();

/**
 * The text in UTF-8, in memory of its own, for what is kept: a small Buffer lies in a block of 8 kB that Node shares
 * among those made one after the other, and keeps all of it.
 */
export function ownBytes(text: string): Uint8Array {
  return encoder.encode(text);
}
