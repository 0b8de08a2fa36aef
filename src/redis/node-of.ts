/** Connection ids are `<node id>.<counter>`. */
export function nodeOf(connectionId: string): string {
  return connectionId.slice(0, Math.max(connectionId.lastIndexOf("."), 0));
}
