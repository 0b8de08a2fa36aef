/** Clients in processes of their own, told what to do and heard over IPC. */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ClientsRequest, ClientsStatus } from "./client-process.js";

/** A process of clients. */
export class Clients {
  readonly #child: ChildProcess;
  status: ClientsStatus | undefined;

  constructor(
    readonly file: string,
    onTrouble: (what: string) => void,
  ) {
    this.#child = fork(new URL("./client-process.ts", import.meta.url), {
      execArgv: ["--import", "tsx"],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    this.#child.on("message", (status: ClientsStatus) => {
      this.status = status;
      status.troubles.forEach(onTrouble);
    });
    this.#child.on("exit", (code, signal) => {
      if (this.status?.finished !== true) onTrouble(`a process of clients ended by ${signal ?? code}`);
    });
  }

  send(request: ClientsRequest): void {
    if (this.#child.connected) this.#child.send(request);
  }

  async finish(): Promise<void> {
    this.send({ kind: "finish" });
    await until(() => this.status?.finished === true || this.#child.exitCode !== null, 15_000);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}

export interface CrowdOptions {
  readonly urls: readonly string[];
  readonly clients: number;
  readonly processes: number;
  readonly channels: readonly string[];
  readonly channelsPerClient: number;
  /** Without history, of which each client takes as many. Default: none. */
  readonly passingChannels?: readonly string[] | undefined;
  /** Publications a second, of which clients make half. */
  readonly rate: number;
  readonly seed: number;
  /** Directory of the built package: every second client uses its SDK; undefined: none does. */
  readonly dist: string | undefined;
  readonly secret?: string | undefined;
  /** Key of an app: all clients are pusher-js. */
  readonly pusherKey?: string | undefined;
  /** Of the JSON that each client's token has it show; 0, the default: nothing. */
  readonly infoBytes?: number | undefined;
}

/** @returns processes that share the clients; each writes what it saw to a file in `directory` */
export function startClients(
  options: CrowdOptions,
  directory: string,
  onTrouble: (what: string) => void,
): Clients[] {
  const { urls, clients, processes, channels, channelsPerClient, rate, seed, dist, secret } = options;
  return Array.from({ length: processes }, (_, index) => {
    const file = join(directory, `clients-${index}.jsonl`);
    const process = new Clients(file, onTrouble);
    process.send({
      kind: "start",
      options: {
        name: `p${index}`,
        urls,
        clients: Math.floor(clients / processes) + (index < clients % processes ? 1 : 0),
        dist,
        secret,
        channels,
        channelsPerClient,
        passingChannels: options.passingChannels ?? [],
        infoBytes: options.infoBytes ?? 0,
        pusherKey: options.pusherKey,
        rate: rate / 2 / processes,
        seed: seed + 1 + index,
        file,
      },
    });
    return process;
  });
}

export type StatusNumber = keyof {
  [Name in keyof ClientsStatus as ClientsStatus[Name] extends number ? Name : never]: 0;
};

/** Over all processes, as they last said. */
export function sumOf(processes: readonly Clients[], field: StatusNumber): number {
  return processes.reduce((sum, { status }) => sum + (status?.[field] ?? 0), 0);
}

export async function until(
  check: () => boolean | Promise<boolean>,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    if (await check()) return true;
    if (performance.now() > deadline || signal?.aborted === true) return false;
    await delay(100);
  }
}
