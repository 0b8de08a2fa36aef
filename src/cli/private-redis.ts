/** A redis-server of this process's own: on loopback, in memory, gone with it. */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { StartError } from "./start-error.js";

export interface PrivateRedis {
  readonly url: string;
  /** How it ended. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
  kill(): void;
}

const START_MS = 10_000;
const ATTEMPTS = 3;

/**
 * Redis does not watch its parent. This shell does: file descriptor 3 is a pipe
 * from us, which reads as ended once we are gone, however we went.
 */
const WATCHED = `
dir=$1; shift
redis-server "$@" 3<&- & pid=$!
trap 'kill "$pid"' TERM
{ cat; kill "$pid"; } <&3 >/dev/null 2>&1 &
watcher=$!
wait "$pid"; code=$?
# A signal ends the first wait before redis ends.
while kill -0 "$pid" 2>/dev/null; do wait "$pid"; done
kill "$watcher" 2>/dev/null
rm -rf "$dir"
exit "$code"`;

/** @throws StartError naming what to install, or what redis-server said */
export async function startPrivateRedis(): Promise<PrivateRedis> {
  let failure: unknown;
  // Between finding a free port and using it, another process may take it.
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      return await startOnce(await freePort());
    } catch (error) {
      if (!(error instanceof StartError) || !/in use/.test(error.message)) throw error;
      failure = error;
    }
  }
  throw failure;
}

async function startOnce(port: number): Promise<PrivateRedis> {
  const dir = mkdtempSync(join(tmpdir(), "starling-redis-"));
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir];
  const child = spawn("sh", ["-c", WATCHED, "sh", dir, ...args], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    // A process group of its own: Ctrl-C must not end it before the nodes.
    detached: true,
  });
  const lifeline = child.stdio[3] as Socket;
  lifeline.once("error", () => lifeline.destroy());
  child.once("exit", () => lifeline.destroy());
  const said: string[] = [];
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) =>
      resolve(signal ?? (code === 127 ? "redis-server not found" : `exit code ${code}`)),
    );
  });
  const ready = new Promise<true>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream as NodeJS.ReadableStream }).on("line", (line) => {
        if (said.length < 40) said.push(line);
        if (line.includes("Ready to accept connections")) resolve(true);
      });
    }
  });
  const kill = (): void => {
    child.kill("SIGTERM");
    rmSync(dir, { recursive: true, force: true });
  };
  const timer = setTimeout(kill, START_MS);
  const started = await Promise.race([ready, ended]);
  clearTimeout(timer);
  if (started !== true) {
    rmSync(dir, { recursive: true, force: true });
    if (started === "redis-server not found") {
      throw new StartError(
        "redis-server is not installed: apt-get install redis-server (Debian, Ubuntu), " +
          "dnf install redis (Fedora), brew install redis (macOS), or name a running one by --redis URL",
      );
    }
    throw new StartError(`redis-server did not start (${started}): ${said.slice(-5).join(" ")}`);
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    ended,
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
    kill,
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === "string") reject(new Error("no free port was given"));
        else resolve(address.port);
      });
    });
  });
}
