/** A private redis-server per test file, on a free port of 127.0.0.1, gone when the test is. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now. */
  readonly pid: number;
  /** A client to look with; closed by stop(). */
  client(): Redis;
  stop(): Promise<void>;
  /** Resolves when the process is gone. SIGKILL by default. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  pause(): void;
  resume(): void;
  /** Kills what runs, starts again on the same port and directory. */
  restart(): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;
const PORT_ATTEMPTS = 5;

export async function startRedis(options: { args?: string[]; port?: number } = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), "starling-redis-"));
  let running: ChildProcess;
  let port = 0;
  for (let attempt = 1; ; attempt++) {
    port = options.port ?? (await freePort());
    try {
      running = await launch(port, directory, options.args ?? []);
      break;
    } catch (error) {
      // Another process may have taken the port since freePort saw it free.
      if (options.port === undefined && attempt < PORT_ATTEMPTS && String(error).includes("exited")) continue;
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }
  const clients: Redis[] = [];
  const onExit = (): void => void running.kill("SIGKILL");
  process.once("exit", onExit);

  async function kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (running.exitCode !== null || running.signalCode !== null) return;
    const exited = once(running, "exit");
    running.kill(signal);
    await exited;
  }

  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return running.pid!;
    },
    client() {
      const client = new Redis(port, "127.0.0.1", { retryStrategy: () => 50 });
      client.on("error", () => undefined); // a test that kills the server expects them
      clients.push(client);
      return client;
    },
    async stop() {
      for (const client of clients) client.disconnect();
      await kill();
      process.off("exit", onExit);
      await rm(directory, { recursive: true, force: true });
    },
    kill,
    pause: () => void running.kill("SIGSTOP"),
    resume: () => void running.kill("SIGCONT"),
    async restart() {
      await kill();
      running = await launch(port, directory, options.args ?? []);
    },
  };
}

async function launch(port: number, directory: string, args: string[]): Promise<ChildProcess> {
  const child = spawn(
    "redis-server",
    [
      "--bind",
      "127.0.0.1",
      "--port",
      `${port}`,
      "--dir",
      directory,
      "--save",
      "",
      "--appendonly",
      "no",
      ...args,
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`redis-server was not ready after ${START_TIMEOUT_MS} ms:\n${output}`));
    }, START_TIMEOUT_MS);
    child.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(
        error.code === "ENOENT" ? new Error("redis-server not found: apt-get install redis-server") : error,
      );
    });
    child.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`redis-server exited with ${code}:\n${output}`));
    });
    const read = (chunk: Buffer): void => {
      if (output.length < 100_000) output += chunk.toString();
      if (!output.includes("Ready to accept connections")) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
  });
  return child;
}

export async function freePort(): Promise<number> {
  for (;;) {
    // Below those that the kernel gives to connections: one of these could take it before it is listened on.
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const server = createServer();
    server.listen(port, "127.0.0.1");
    const taken = await once(server, "listening").then(
      () => false,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "EADDRINUSE") throw error;
        return true;
      },
    );
    if (taken) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
