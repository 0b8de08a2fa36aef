const CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/";
const LENGTH = 22;

/**
 * 132 random bits. Not crypto.randomUUID, which pages without https do not have. React Native has no crypto: an id
 * must be another's, not a secret.
 */
export function randomId(): string {
  const bytes = new Uint8Array(LENGTH);
  const { crypto } = globalThis as { crypto?: Pick<Crypto, "getRandomValues"> };
  if (crypto?.getRandomValues) crypto.getRandomValues(bytes);
  else bytes.forEach((_, at) => (bytes[at] = Math.random() * 256));
  return Array.from(bytes, (byte) => CHARACTERS[byte & 63]).join("");
}
