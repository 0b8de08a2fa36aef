/** What processes cost, from /proc. */

import { readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";

/** USER_HZ: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** User and system time since it began; undefined once it is gone. */
export function cpuSecondsOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name, in parentheses, may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export function rssBytesOf(pid: number): number | undefined {
  return kilobytes(read(`/proc/${pid}/status`), "VmRSS");
}

/** Memory that is its own, and its part of what is shared: what sums up over workers. */
export function pssBytesOf(pid: number): number | undefined {
  return kilobytes(read(`/proc/${pid}/smaps_rollup`), "Pss");
}

/** Binds all threads of a process to these cores. @returns whether it was done */
export function bind(pid: number, cores: readonly number[]): boolean {
  const { status } = spawnSync("taskset", ["-a", "-p", "-c", cores.join(","), String(pid)], {
    stdio: "ignore",
  });
  return status === 0;
}

/** CPU time of the whole machine that was not idle. */
export function machineCpuSeconds(): number {
  const fields = (read("/proc/stat") ?? "").split("\n", 1)[0]!.split(/\s+/).slice(1).map(Number);
  // user nice system idle iowait irq softirq steal; guest time is in user already.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}

export interface CpuReading {
  readonly atMs: number;
  readonly seconds: ReadonlyMap<number, number>;
}

export function readCpu(pids: readonly number[]): CpuReading {
  const seconds = pids.flatMap((pid) => {
    const value = cpuSecondsOf(pid);
    return value === undefined ? [] : [[pid, value] as const];
  });
  return { atMs: performance.now(), seconds: new Map(seconds) };
}

export interface CpuSpent {
  readonly wallSeconds: number;
  readonly seconds: number;
  /** Of the process that took the most, 0..1 of a core. */
  readonly busiest: number;
}

export function cpuSince(before: CpuReading, pids: readonly number[]): CpuSpent {
  const now = readCpu(pids);
  const wallSeconds = (now.atMs - before.atMs) / 1000;
  const spent = pids.map((pid) => (now.seconds.get(pid) ?? 0) - (before.seconds.get(pid) ?? 0));
  return {
    wallSeconds,
    seconds: spent.reduce((sum, value) => sum + Math.max(0, value), 0),
    busiest: Math.max(0, ...spent) / wallSeconds,
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

function kilobytes(text: string | undefined, name: string): number | undefined {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text ?? "")?.[1];
  return found === undefined ? undefined : Number(found) * 1024;
}
