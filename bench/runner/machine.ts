/** What a reader needs to know of where and with what a result was made. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { MachineInfo } from "../types.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PACKAGES = ["uWebSockets.js", "ws", "socket.io", "@socket.io/redis-adapter", "ioredis"];

export function machineInfo(placement: string): MachineInfo {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    os: `${type()} ${release()}`,
    node: process.version,
    placement,
  };
}

export function versions(): Record<string, string> {
  const found: Record<string, string> = { node: process.version };
  const own = packageVersion(join(ROOT, "package.json"));
  if (own !== undefined) found["starling"] = own;
  const commit = output("git", ["-C", ROOT, "rev-parse", "--short", "HEAD"]);
  if (commit !== undefined) {
    const changed = (output("git", ["-C", ROOT, "status", "--porcelain"]) ?? "") !== "";
    found["commit"] = commit + (changed ? ", with changes" : "");
  }
  const redis = /v=(\S+)/.exec(output("redis-server", ["--version"]) ?? "")?.[1];
  if (redis !== undefined) found["redis"] = redis;
  for (const name of PACKAGES) {
    const version = packageVersion(join(ROOT, "node_modules", name, "package.json"));
    if (version !== undefined) found[name] = version;
  }
  return found;
}

function packageVersion(path: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(path, "utf8")) as { version?: string }).version;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** @returns undefined where the program is not there or failed: the version is then not told */
function output(program: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}
