/** Runs cases: for each, run by run, one peer after the other, on fresh servers. */

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { lacksAcknowledgements } from "../protocols/suitability.js";
import { usesRedis, type Case, type CaseBench } from "../scenarios/case.js";
import type { BenchResult, Peer, ProtocolName, ScenarioRun } from "../types.js";
import { isSecret } from "./secret.js";
import { LoadFleet } from "./load-fleet.js";
import { machineInfo, versions } from "./machine.js";
import type { BenchOptions } from "./options.js";
import { stopMeters } from "./measure.js";
import { placementFor, type Placement } from "./placement.js";
import { summarizeRuns } from "./summary.js";
import { attachTarget, startTarget, type Target } from "./target.js";

export interface RunOptions {
  readonly cases: readonly Case[];
  /** Those to start; what is attached to comes after them. */
  readonly peers: readonly Peer[];
  readonly options: BenchOptions;
  readonly command: string;
  readonly reference: string;
  /** One line that replaces the last. */
  progress(text: string): void;
  /** A line that stays. */
  print(line: string): void;
  /** Ends the run early, cleanly. */
  readonly signal: AbortSignal;
}

/** Who runs a case, or why not. */
export function participants(
  { scenario, variant, nodes, needs, redis: use }: Case,
  peers: readonly Peer[],
  { redis, acknowledged }: Pick<BenchOptions, "redis" | "acknowledged">,
): { readonly running: readonly Peer[]; readonly skipped: readonly string[] } {
  const running: Peer[] = [];
  const reasons = new Map<string, string[]>();
  for (const peer of peers.filter(({ unavailable }) => unavailable === undefined)) {
    const missing = needs.find((need) => !peer.has.includes(need));
    const reason =
      missing !== undefined
        ? `no ${missing}`
        : peer.maxNodes < nodes
          ? `not as ${nodes} nodes`
          : use === "needed" && redis === false
            ? "not without a Redis"
            : acknowledged && lacksAcknowledgements(peer.protocol, scenario)
              ? "no acknowledgements"
              : undefined;
    if (reason === undefined) running.push(peer);
    else reasons.set(reason, [...(reasons.get(reason) ?? []), peer.name]);
  }
  return {
    running,
    skipped: [...reasons].map(([reason, names]) => `${scenario}, ${variant}: ${names.join(", ")}: ${reason}`),
  };
}

/** Who cannot be started at all, and what to do. */
export function unavailableOf(peers: readonly Peer[]): string[] {
  return peers.flatMap(({ name, unavailable }) =>
    unavailable === undefined ? [] : [`${name} is not available: ${unavailable}`],
  );
}

export async function runBench(run: RunOptions): Promise<BenchResult> {
  const { cases, peers, options, signal } = run;
  const startedAt = new Date().toISOString();
  const runs: ScenarioRun[] = [];
  const skipped = unavailableOf(peers);
  let placementWords = "processes placed by the system";
  for (const each of cases) {
    const taking = participants(each, peers, options);
    skipped.push(...taking.skipped);
    const names = namesOf(taking.running, options);
    const placement = placementOf(each, run);
    placementWords = placement?.words ?? placementWords;
    for (let number = 1; number <= options.runs; number++) {
      for (const [index, name] of names.entries()) {
        if (signal.aborted) break;
        const label = `${each.scenario}, ${each.variant}, ${name}${options.runs > 1 ? `, run ${number} of ${options.runs}` : ""}`;
        run.progress(`${label}: starting`);
        const peer = taking.running[index];
        const turn: Turn = {
          each,
          peer,
          protocol: protocolOf(peer, options),
          number,
          placement,
          progress: (text) => run.progress(`${label}: ${text}`),
        };
        const turnStartedAt = new Date().toISOString();
        try {
          const measured = await takeTurn(run, turn);
          runs.push({
            scenario: each.scenario,
            variant: each.variant,
            peer: name,
            protocol: turn.protocol,
            run: number,
            startedAt: turnStartedAt,
            ...measured,
          });
          const [first] = measured.figures;
          const problems = measured.problems.length === 0 ? "" : `; ${measured.problems.join("; ")}`;
          run.print(
            `${label}: ${first === undefined ? "" : describe(first.value, first.unit, first.label)}${problems}`,
          );
        } catch (error) {
          if (signal.aborted) break;
          const reason = error instanceof Error ? error.message : String(error);
          skipped.push(`${label}: ${reason}`);
          run.print(`${label}: failed: ${reason}`);
        }
      }
    }
  }
  return {
    format: 1,
    startedAt,
    finishedAt: new Date().toISOString(),
    command: run.command,
    machine: machineInfo(placementWords),
    versions: { ...versions(), ...versionsOf(peers) },
    options: flatten(options),
    reference: run.reference,
    runs,
    summary: summarizeRuns(runs, run.reference),
    skipped,
    profiles: profilesIn(options.profileFolder, Date.parse(startedAt)),
  };
}

function versionsOf(peers: readonly Peer[]): Record<string, string> {
  const nodes = new Set(peers.flatMap(({ nodeVersion }) => nodeVersion ?? []));
  return {
    ...(nodes.size > 0 && { "servers' node": [...nodes].join(", ") }),
    ...Object.fromEntries(
      peers.flatMap(({ name, version }) => (version === undefined ? [] : [[name, version]])),
    ),
  };
}

/** In the order in which they take their turns. */
export function namesOf(running: readonly Peer[], { attach }: Pick<BenchOptions, "attach">): string[] {
  return [...running.map(({ name }) => name), ...(attach === undefined ? [] : [attach.name])];
}

/** Attached servers stay where they are; the load has its cores as soon as it is compared with others. */
function placementOf(each: Case, { peers, options }: RunOptions): Placement | undefined {
  return options.pin && peers.length > 0 ? placementFor(each.nodes) : undefined;
}

interface Turn {
  readonly each: Case;
  /** undefined: what is attached to. */
  readonly peer: Peer | undefined;
  readonly protocol: ProtocolName;
  /** Of the run, from 1 on. */
  readonly number: number;
  readonly placement: Placement | undefined;
  readonly progress: (text: string) => void;
}

async function takeTurn({ options, signal }: RunOptions, turn: Turn) {
  const { each, peer, protocol, number, placement, progress } = turn;
  let load: LoadFleet | undefined;
  let target: Target | undefined;
  let abort: () => void = () => undefined;
  // Measured steps are long: on Ctrl-C they are left behind, and what they wait for is stopped.
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new Error("interrupted"));
    signal.addEventListener("abort", abort);
  });
  aborted.catch(() => undefined);
  try {
    load = await LoadFleet.start(options.loadProcesses, placement);
    // One profile of each is enough, and writing it costs.
    const profiled = options.profileFolder !== undefined && number === 1;
    target =
      peer === undefined
        ? attachTarget(options.attach!)
        : await startTarget(peer, {
            nodes: each.nodes,
            redis: usesRedis(each, options.redis),
            placement,
            features: {
              ...each.features,
              settings: options.settings,
              ...(profiled && { profileFolder: options.profileFolder }),
            },
          });
    const bench: CaseBench = {
      target,
      load,
      placement,
      peer: peer?.name ?? options.attach!.name,
      attached: peer === undefined ? options.attach : undefined,
      protocol,
      options,
      progress,
    };
    return await Promise.race([each.run(bench), aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
    stopMeters();
    await load?.end();
    await target?.stop();
  }
}

/** --encoding is Starling's own; the other peers speak JSON. */
function protocolOf(peer: Peer | undefined, { attach, encoding }: BenchOptions): ProtocolName {
  const protocol = peer?.protocol ?? attach!.protocol;
  const speaks = peer === undefined || peer.has.includes("msgpack");
  return speaks && protocol === "starling-json" && encoding === "msgpack" ? "starling-msgpack" : protocol;
}

function describe(value: number, unit: string, label: string): string {
  const digits = Math.abs(value) >= 100 ? 0 : 3;
  return `${value.toLocaleString("en-US", { maximumFractionDigits: digits })} ${unit} ${label}`;
}

/** Those of this run; earlier ones may lie beside them. */
function profilesIn(folder: string | undefined, sinceMs: number): string[] {
  if (folder === undefined) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".cpuprofile"))
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).mtimeMs >= sinceMs);
}

/** Without what is secret: tokens and keys stay out of results. */
function flatten({ attach, settings, ...options }: BenchOptions): BenchResult["options"] {
  const flat: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
      flat[name] = value;
  }
  for (const [name, value] of Object.entries(settings)) flat[`--${name}`] = isSecret(name) ? "..." : value;
  if (attach !== undefined) flat["attach"] = `${attach.name}: ${attach.urls.join(", ")}`;
  return flat;
}
