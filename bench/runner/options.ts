import type { ProtocolName } from "../types.js";

/** What the command line says, with defaults filled in. Where a scenario has its own default, the option is absent. */
export interface BenchOptions {
  readonly runs: number;
  readonly quick: boolean;
  readonly pin: boolean;
  readonly loadProcesses: number;
  readonly encoding: "json" | "msgpack";
  readonly acknowledged: boolean;
  readonly payloadBytes: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** Of the confirmation of a sustained rate. */
  readonly sustainSeconds: number;
  readonly sustainP99Ms: number;
  readonly holdMinutes: number;
  readonly connectRate: number;
  readonly workers: number;
  /** connect: servers that have just started, and memory as it is. */
  readonly cold: boolean;
  /** Absent: as the scenario says. */
  readonly redis?: boolean;
  readonly connections?: number;
  readonly channels?: number;
  readonly subscribers?: number;
  readonly publishers?: number;
  /** Messages/s; absent: as fast as possible. */
  readonly rate?: number;
  readonly inFlight?: number;
  readonly nodes?: number;
  readonly profileFolder?: string;
  readonly settings: Readonly<Record<string, string>>;
  /** Path of Centrifugo's binary. */
  readonly centrifugo?: string;
  /** The folder that Soketi was installed in. */
  readonly soketi?: string;
  readonly attach?: AttachOptions;
}

export interface AttachOptions {
  /** In results. */
  readonly name: string;
  readonly urls: readonly string[];
  readonly protocol: ProtocolName;
  readonly pids: readonly number[];
  readonly token?: string;
  /** Of the app, with which pusher signs subscriptions to private channels. */
  readonly secret?: string;
  readonly apiUrl?: string;
  readonly apiKey?: string;
}
