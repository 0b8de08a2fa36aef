import { fork } from "node:child_process";

const START_MS = 20_000;
/** Enough to write a CPU profile. */
const STOP_MS = 10_000;
const OUTPUT_CHARACTERS = 10_000;

export interface ServerProcessOptions {
  /** For error messages. */
  readonly name: string;
  readonly path: string;
  readonly arguments: readonly string[];
  /** undefined: the Node.js that runs this process. */
  readonly nodePath: string | undefined;
  readonly execArguments: readonly string[];
}

export interface ServerProcess {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Runs a program that tells its port by IPC once it accepts connections. @throws Error with its output if it does not */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const child = fork(options.path, options.arguments, {
    execPath: options.nodePath ?? process.execPath,
    execArgv: [...options.execArguments],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_CHARACTERS);
    });
  }
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));

  async function stop(): Promise<void> {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await exited;
    clearTimeout(killer);
  }

  const port = await new Promise<number>((resolve, reject) => {
    const fail = (what: string): void => reject(new Error(`${options.name} ${what}:\n${output}`));
    const timer = setTimeout(() => fail(`did not listen within ${START_MS} ms`), START_MS);
    child.once("error", (error) => {
      clearTimeout(timer);
      fail(`could not be run: ${error.message}`);
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      fail(`ended with ${code ?? signal} instead of listening`);
    });
    child.once("message", (message) => {
      clearTimeout(timer);
      resolve((message as { port: number }).port);
    });
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return { port, pid: child.pid!, stop };
}
