/**
 * The server as a library: `import { startNode, loadConfig, createLog } from "starling-edge"`. A process that embeds it
 * keeps its own settings of V8: cli/v8-flags.ts has those that `starling serve` makes.
 */

export { configSchema, defaultConfig, loadConfig, type Config } from "./config.js";
export type { Log } from "./core/log.js";
export { createLog } from "./log.js";
export { startNode, type StarlingNode } from "./node.js";
export { CLOSE_CODES } from "./protocols/starling/close-codes.js";
export { ERROR_CODES, StarlingError, type ErrorCode } from "./core/errors.js";
