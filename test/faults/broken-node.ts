/**
 * `starling serve` with something switched off, to show that the checker notices:
 * `node --import tsx broken-node.ts DIST NAME serve --option=value ...`. No option of the product does this.
 */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
// Types only: what runs is what was built.
import type { loadConfig } from "../../src/config/load.js";
import type { createLog } from "../../src/log.js";
import type { startNode } from "../../src/node.js";

const SABOTAGE: Record<string, Parameters<typeof startNode>[2]> = { repair: { repair: false } };

const [dist = "", name = "", , ...args] = process.argv.slice(2);
const built = (file: string): Promise<unknown> => import(pathToFileURL(join(dist, file)).href);

process.once("disconnect", () => process.exit(0));
const testing = SABOTAGE[name];
if (testing === undefined) {
  process.stderr.write(`nothing called "${name}" can be broken: ${Object.keys(SABOTAGE).join(", ")}\n`);
  process.exit(2);
}
const flags: Record<string, string | boolean> = {};
for (const arg of args) {
  const [, no, flag = "", value] = /^--(no-)?([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
  if (flag === "" || flag === "exit-with-parent") continue;
  const option = flag.replace(/-([a-z])/g, (_match, letter: string) => letter.toUpperCase());
  flags[option] = value ?? no === undefined;
}
const { loadConfig: load } = (await built("config/load.js")) as { loadConfig: typeof loadConfig };
const { createLog: log } = (await built("log.js")) as { createLog: typeof createLog };
const { startNode: start } = (await built("node.js")) as { startNode: typeof startNode };
const { config } = load({ flags, env: {}, configFile: undefined });
const node = await start(config, log({ level: config.logLevel, format: config.logFormat }), testing);
process.stdout.write(`websocket ${node.wsUrl}\napi ${node.apiUrl}\n`);
