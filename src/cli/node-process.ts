/** A node in a child process: one of `starling cluster`, or a worker of `starling serve`. */

import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Config } from "../config/options.js";
import { drainMostMs } from "../core/drain.js";
import type { FromWorker, ToWorker, Urls } from "./worker-messages.js";

export interface NodeProcess {
  readonly id: string;
  readonly pid: number;
  readonly alive: boolean;
  /** Once it serves; undefined where it ended before. */
  readonly ready: Promise<Urls | undefined>;
  /** How it ended. */
  readonly ended: Promise<string>;
  /** Asks it to drain; kills it after `killAfterMs`. */
  stop(killAfterMs: number): Promise<void>;
  kill(): void;
  /** @param socket  goes over to it */
  send(message: ToWorker, socket?: Socket): void;
}

/** Longer than a drain, so that only a node that hangs is killed. */
const KILL_AFTER_DRAIN_MS = 5000;

/** How long a node may take to stop: what NodeProcess.stop wants. */
export function killAfterMs(config: Pick<Config, "drainNoticeMs" | "drainMs">): number {
  return drainMostMs(config) + KILL_AFTER_DRAIN_MS;
}

export interface NodeProcessOptions {
  readonly args?: readonly string[];
  /** Its output goes to this process's as it is; else its log alone, line by line under its id. */
  readonly plain?: boolean;
  /** What it says beyond that it is ready. */
  readonly heard?: (message: FromWorker) => void;
}

export function startNodeProcess(
  id: string,
  env: Readonly<Record<string, string | undefined>>,
  { args = [], plain = false, heard = () => undefined }: NodeProcessOptions = {},
): NodeProcess {
  const command = process.argv[1] ?? "";
  const child = spawn(
    process.execPath,
    [...process.execArgv, command, "serve", "--exit-with-parent", ...args],
    {
      env,
      // The IPC channel tells the node when this process is gone, however it went.
      stdio: ["ignore", plain ? "inherit" : "ignore", plain ? "inherit" : "pipe", "ipc"],
      // A process group of its own: Ctrl-C reaches it once, through this process.
      detached: true,
    },
  );
  let how: string | undefined;
  const ended = new Promise<string>((resolve) => {
    const end = (reason: string): void => resolve((how ??= reason));
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
  });
  const listening = new Promise<Urls>((resolve) => {
    child.on("message", (message: FromWorker) => {
      if (message.kind === "ready") resolve(message.urls);
      else heard(message);
    });
  });
  if (child.stderr !== null) {
    const lines = createInterface({ input: child.stderr, crlfDelay: Infinity });
    lines.on("line", (line) => process.stderr.write(`${id} | ${line}\n`));
  }

  const kill = (): void => {
    if (how === undefined) child.kill("SIGKILL");
  };
  return {
    id,
    // None where it could not be started at all: `ended` says why.
    pid: child.pid ?? 0,
    get alive() {
      return how === undefined;
    },
    ready: Promise.race([listening, ended.then(() => undefined)]),
    ended,
    async stop(killAfterMs) {
      if (how !== undefined) return;
      child.kill("SIGTERM");
      const timer = setTimeout(kill, killAfterMs);
      await ended;
      clearTimeout(timer);
    },
    kill,
    send(message, socket) {
      // One that is ending hears nothing any more, and its end is told.
      if (child.connected) child.send(message, socket, () => undefined);
      else socket?.destroy();
    },
  };
}
