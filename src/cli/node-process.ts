/** A node of `starling cluster`: a child process whose output is forwarded under its id. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** By name, as `starling serve` prints them. */
export type Urls = Readonly<Record<string, string>>;

export interface NodeProcess {
  readonly id: string;
  readonly alive: boolean;
  /** Once it has printed its URLs; undefined where it ended before. */
  readonly ready: Promise<Urls | undefined>;
  /** How it ended. */
  readonly ended: Promise<string>;
  /** Asks it to drain; kills it after `killAfterMs`. */
  stop(killAfterMs: number): Promise<void>;
  kill(): void;
}

const LAST_URL = "api";

export function startNodeProcess(id: string, env: Readonly<Record<string, string | undefined>>): NodeProcess {
  const command = process.argv[1] ?? "";
  const child = spawn(process.execPath, [...process.execArgv, command, "serve", "--exit-with-parent"], {
    env,
    // The IPC channel tells the node when this process is gone, however it went.
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    // A process group of its own: Ctrl-C reaches it once, through this process.
    detached: true,
  });
  let how: string | undefined;
  const ended = new Promise<string>((resolve) => {
    const end = (reason: string): void => resolve((how ??= reason));
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
  });
  const urls: Record<string, string> = {};
  const listening = new Promise<Urls>((resolve) => {
    forward(child.stdout, process.stdout, (line) => {
      const [, name, url] = /^(\w+)\s+(\w+:\/\/\S+)$/.exec(line) ?? [];
      if (name === undefined || url === undefined) return;
      urls[name] = url;
      if (name === LAST_URL) resolve(urls);
    });
  });
  forward(child.stderr, process.stderr);

  function forward(
    from: NodeJS.ReadableStream | null,
    to: NodeJS.WritableStream,
    seen: (line: string) => void = () => undefined,
  ): void {
    if (from === null) return;
    createInterface({ input: from, crlfDelay: Infinity }).on("line", (line) => {
      seen(line);
      to.write(`${id} | ${line}\n`);
    });
  }

  const kill = (): void => {
    if (how === undefined) child.kill("SIGKILL");
  };
  return {
    id,
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
  };
}
