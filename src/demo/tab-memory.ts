/** What this tab remembers over a reload. A second window knows nothing of it: it has a name of its own. */

const PREFIX = "starling-demo-";

/** @returns null: nothing that this page wrote */
export function recall(what: string): unknown {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + what) ?? "null");
  } catch (error) {
    // The browser's settings can forbid storage.
    console.info(`${what}: not remembered`, error);
    return null;
  }
}

export function recallList(what: string): string[] {
  const stored = recall(what);
  return Array.isArray(stored) ? stored.map(String) : [];
}

export function remember(what: string, value: unknown): void {
  try {
    sessionStorage.setItem(PREFIX + what, JSON.stringify(value));
  } catch (error) {
    console.info(`${what}: not remembered`, error);
  }
}
