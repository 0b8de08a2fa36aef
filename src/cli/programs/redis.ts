/** A redis-server of this process's own: on loopback, in memory, gone with it. */

import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../ports.js";
import { requirePrograms, startProgram, type OnExit } from "./program.js";

export interface PrivateRedis {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface PrivateRedisOptions {
  /** Taken where it is free. */
  readonly preferredPort?: number | undefined;
  /** Told when it ends and nobody ended it. */
  readonly onExit?: OnExit | undefined;
}

/** @throws StartError naming what to install, or what redis-server said */
export async function startPrivateRedis(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  requirePrograms("redis-server");
  const port = await freePort(options.preferredPort);
  const directory = await mkdtemp(join(tmpdir(), "starling-redis-"));
  const settings = { port, bind: "127.0.0.1", dir: directory, save: "", appendonly: "no" };
  const running = await startProgram({
    name: "redis-server",
    command: "redis-server",
    args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    directory,
    isUp: (log) => log.includes("Ready to accept connections"),
    onExit: options.onExit,
  });
  // Killed: there is nothing that it would have to write.
  return { url: `redis://127.0.0.1:${port}`, pid: running.pid, stop: () => running.end("SIGKILL") };
}
