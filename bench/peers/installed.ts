import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** By its path, as not every package exports its package.json. @throws Error where it is not installed */
export function versionOf(packageName: string): string {
  const path = join(ROOT, "node_modules", packageName, "package.json");
  try {
    return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
  } catch (cause) {
    throw new Error(`${packageName} is not installed: npm ci`, { cause });
  }
}
