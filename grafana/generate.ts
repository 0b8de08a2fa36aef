/**
 * Writes grafana/dashboards/*.json from grafana/src and docs/operations.md.
 *
 *     npx tsx grafana/generate.ts
 */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { generate } from "./src/generate.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

for (const [file, json] of generate(readFileSync(at("../docs/operations.md"), "utf8"))) {
  writeFileSync(at(`dashboards/${file}`), json);
  console.log(`grafana/dashboards/${file}: ${json.length} bytes`);
}
