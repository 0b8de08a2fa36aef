/** The load processes, as one. */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type {
  FromLoad,
  JoinedReport,
  Joins,
  LoadCounters,
  LoadPlan,
  OpenedReport,
  SettledReport,
  StoppedReport,
  ToLoad,
  Traffic,
} from "../load/messages.js";
import type { Placement } from "./placement.js";
import { bind } from "./processes.js";

const PROCESS = fileURLToPath(new URL("../load/process.ts", import.meta.url));
const START_MS = 30_000;
/** Beyond what each step bounds itself. */
const ANSWER_MS = 120_000;

type Answer<K extends FromLoad["kind"]> = Extract<FromLoad, { kind: K }>;

export class LoadFleet {
  readonly #children: readonly ChildProcess[];
  readonly #counters: LoadCounters[];

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
    this.#counters = children.map(() => ({ live: 0, sent: 0, deliveries: 0, replies: 0 }));
    for (const [index, child] of children.entries()) {
      child.on("message", (message: FromLoad) => {
        if (message.kind === "progress") this.#counters[index] = message.counters;
      });
    }
  }

  /** On the cores that are the load's, where there is a placement. */
  static async start(processes: number, placement: Placement | undefined): Promise<LoadFleet> {
    const children = Array.from({ length: processes }, () =>
      fork(PROCESS, [], {
        // The young generation holds what a chunk of deliveries leaves behind.
        execArgv: ["--import", "tsx", "--max-semi-space-size=64"],
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      }),
    );
    const fleet = new LoadFleet(children);
    try {
      await Promise.all(children.map((child) => answer(child, "loaded", START_MS)));
      if (placement !== undefined) for (const pid of fleet.pids) bind(pid, placement.loadCores);
      return fleet;
    } catch (error) {
      await fleet.end();
      throw error;
    }
  }

  get pids(): number[] {
    return this.#children.map(({ pid }) => pid!);
  }

  get size(): number {
    return this.#children.length;
  }

  /** As of a quarter of a second ago. */
  get counters(): LoadCounters {
    const sum = (name: keyof LoadCounters): number =>
      this.#counters.reduce((total, each) => total + each[name], 0);
    return { live: sum("live"), sent: sum("sent"), deliveries: sum("deliveries"), replies: sum("replies") };
  }

  async open(plan: LoadPlan): Promise<OpenedReport> {
    const answers = await Promise.all(
      this.#children.map((child, process) =>
        this.#ask(child, { kind: "open", plan, process, processes: this.size }, "opened", Infinity),
      ),
    );
    return joinOpened(answers.map(({ opened }) => opened));
  }

  start(traffic: Traffic): void {
    this.#tellAll({ kind: "start", traffic });
  }

  mark(): void {
    this.#tellAll({ kind: "mark" });
  }

  async stop(): Promise<StoppedReport> {
    const answers = await Promise.all(
      this.#children.map((child) => this.#ask(child, { kind: "stop" }, "stopped", ANSWER_MS)),
    );
    const reports = answers.map(({ stopped }) => stopped);
    const sum = (name: "sent" | "deliveries" | "replies" | "behind" | "cpuSeconds"): number =>
      reports.reduce((total, each) => total + each[name], 0);
    return {
      seconds: Math.max(...reports.map(({ seconds }) => seconds)),
      cpuSeconds: sum("cpuSeconds"),
      sent: sum("sent"),
      deliveries: sum("deliveries"),
      replies: sum("replies"),
      behind: sum("behind"),
      sentByStream: reports.flatMap(({ sentByStream }) => sentByStream),
    };
  }

  async settle(
    sent: StoppedReport["sentByStream"],
    quietMs: number,
    mostMs: number,
  ): Promise<SettledReport[]> {
    const answers = await Promise.all(
      this.#children.map((child) =>
        this.#ask(child, { kind: "settle", sent, quietMs, mostMs }, "settled", ANSWER_MS),
      ),
    );
    return answers.map(({ settled }) => settled);
  }

  async storm(deadlineMs: number): Promise<OpenedReport> {
    const answers = await Promise.all(
      this.#children.map((child) =>
        this.#ask(child, { kind: "storm", deadlineMs }, "stormed", deadlineMs + ANSWER_MS),
      ),
    );
    return joinOpened(answers.map(({ opened }) => opened));
  }

  async join(joins: Joins): Promise<JoinedReport> {
    const answers = await Promise.all(
      this.#children.map((child) => this.#ask(child, { kind: "join", ...joins }, "joined", Infinity)),
    );
    const reports = answers.map(({ joined }) => joined);
    return {
      joined: reports.reduce((total, each) => total + each.joined, 0),
      refused: reports.reduce((total, each) => total + each.refused, 0),
      seconds: Math.max(...reports.map(({ seconds }) => seconds)),
      errors: [...new Set(reports.flatMap(({ errors }) => errors))],
    };
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#children.map((child) => this.#ask(child, { kind: "close" }, "closed", ANSWER_MS)),
    );
  }

  async end(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const exited = once(child, "exit");
        child.kill("SIGKILL");
        await exited;
      }),
    );
  }

  #tellAll(message: ToLoad): void {
    for (const child of this.#children) {
      requireRunning(child);
      child.send(message);
    }
  }

  async #ask<K extends FromLoad["kind"]>(
    child: ChildProcess,
    message: ToLoad,
    kind: K,
    timeoutMs: number,
  ): Promise<Answer<K>> {
    requireRunning(child);
    const answered = answer(child, kind, timeoutMs);
    child.send(message);
    return answered;
  }
}

/** @throws Error where it has ended, as all have when a run is interrupted */
function requireRunning(child: ChildProcess): void {
  if (!child.connected) throw new Error("a load process has ended");
}

async function answer<K extends FromLoad["kind"]>(
  child: ChildProcess,
  kind: K,
  timeoutMs: number,
): Promise<Answer<K>> {
  return new Promise((resolve, reject) => {
    const timer = Number.isFinite(timeoutMs)
      ? setTimeout(
          () => settle(new Error(`a load process did not answer "${kind}" within ${timeoutMs} ms`)),
          timeoutMs,
        )
      : undefined;
    const onMessage = (message: FromLoad): void => {
      if (message.kind === kind) settle(message as Answer<K>);
      else if (message.kind === "failed") settle(new Error(`a load process failed: ${message.message}`));
    };
    const onExit = (code: number | null, signal: string | null): void =>
      settle(new Error(`a load process ended with ${code ?? signal}`));
    function settle(outcome: Error | Answer<K>): void {
      clearTimeout(timer);
      child.off("message", onMessage);
      child.off("exit", onExit);
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    }
    child.on("message", onMessage);
    child.once("exit", onExit);
  });
}

function joinOpened(reports: readonly OpenedReport[]): OpenedReport {
  const sum = (name: "connections" | "failed" | "cpuSeconds"): number =>
    reports.reduce((total, each) => total + each[name], 0);
  return {
    connections: sum("connections"),
    failed: sum("failed"),
    seconds: Math.max(...reports.map(({ seconds }) => seconds)),
    cpuSeconds: sum("cpuSeconds"),
    liveAtMs: reports.flatMap(({ liveAtMs }) => liveAtMs).sort((a, b) => a - b),
    errors: [...new Set(reports.flatMap(({ errors }) => errors))],
  };
}
