/** A redis-server of the stack's or a benchmark's own, without persistence. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, requireProgram, startProgram } from "./programs.js";

export interface Redis {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** @throws MissingProgram, or Error with what it said */
export async function startRedis(onExit?: (what: string) => void): Promise<Redis> {
  requireProgram("redis-server");
  const port = await freePort();
  const directory = await mkdtemp(join(tmpdir(), "starling-redis-"));
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  const options = { port, bind: "127.0.0.1", dir: directory, save: "", appendonly: "no" };
  try {
    const running = await startProgram({
      name: "redis-server",
      command: "redis-server",
      args: Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
      isUp: (log) => log.includes("Ready to accept connections"),
      onExit,
    });
    return {
      url: `redis://127.0.0.1:${port}`,
      pid: running.pid,
      async stop() {
        await running.end("SIGKILL");
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
