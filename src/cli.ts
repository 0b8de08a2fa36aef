#!/usr/bin/env node
import "./cli/v8-flags.js";
import { run } from "./cli/run.js";

const exitCode = await run(process.argv.slice(2));
// What a failed start left open must not keep the process.
if (exitCode !== undefined) process.exit(exitCode);
