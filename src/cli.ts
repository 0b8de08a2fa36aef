#!/usr/bin/env node
import * as nodeModule from "node:module";
import { fileURLToPath } from "node:url";

// Node 22 and later: code that was compiled once is read from there. Not in the directory that all users share.
if ("enableCompileCache" in nodeModule) {
  const cache = fileURLToPath(new URL("../node_modules/.cache/starling-edge", import.meta.url));
  (nodeModule as { enableCompileCache(directory: string): unknown }).enableCompileCache(cache);
}
// Until the node listens for it, a SIGHUP would end it: what it asks for, the start does.
if (process.argv[2] === "serve") process.on("SIGHUP", () => undefined);

await import("./cli/v8-flags.js");
const { run } = await import("./cli/run.js");
const exitCode = await run(process.argv.slice(2));
// What a failed start left open must not keep the process.
if (exitCode !== undefined) process.exit(exitCode);
