#!/usr/bin/env node

// Until the node listens for it, a SIGHUP would end it: what it asks for, the start does.
if (process.argv[2] === "serve") process.on("SIGHUP", () => undefined);

await import("./cli/v8-flags.js");
const { run } = await import("./cli/run.js");
const exitCode = await run(process.argv.slice(2));
// What a failed start left open must not keep the process.
if (exitCode !== undefined) process.exit(exitCode);
