/**
 * Half a surrogate pair has no UTF-8: a text that holds one becomes another text on the bus, in Redis and in
 * MessagePack. What JSON content holds as an escape (`"\ud800"`) stays bytes and is not meant.
 */

const LONE = /\p{Cs}/u;

/** @returns where the first stands, or -1 */
export function loneSurrogateAt(text: string): number {
  // In 10 ns, where the search takes 27; TypeScript's ES2023 does not know it.
  return (text as string & { isWellFormed(): boolean }).isWellFormed() ? -1 : text.search(LONE);
}
