/** One run: a fleet, clients in processes of their own, faults by a seed, and the checker's verdict. */

import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { Checker, type Evidence, type Position, type Verdict } from "./checker.js";
import { startClients, sumOf, until, type Clients, type StatusNumber } from "./clients.js";
import { startFleet, type Fleet, type FleetNode } from "./fleet.js";
import { publishByApi } from "./publisher.js";
import { RegistryChecker, type RegistryRecord, type RegistryVerdict } from "./registry-checker.js";
import { createRandom } from "./random.js";
import { tokenOf } from "./token.js";
import { FAULTS, type Fault, type FaultName } from "./repertoire.js";

export interface ChaosOptions {
  readonly seconds: number;
  readonly nodes: number;
  readonly clients: number;
  readonly channels: number;
  readonly channelsPerClient: number;
  /** Publications a second, half by clients and half by the server API. */
  readonly rate: number;
  readonly processes: number;
  readonly seed: number;
  readonly faults: readonly FaultName[];
  /** What the schedule begins with: a short run may draw none of what it is about. */
  readonly first?: readonly FaultName[] | undefined;
  /** Between the beginnings of two faults, on average. */
  readonly paceSeconds: number;
  /** Multiplies how long faults last. */
  readonly scale: number;
  readonly historySize: number;
  readonly historyTtlMs: number;
  /** When all faults are over, how long clients are waited for that are not at the top. */
  readonly catchUpSeconds: number;
  /** The built package: its command and, for half of the clients, its SDK. Default: dist/. */
  readonly dist?: string | undefined;
  /** false: every client is the kit's own, which knows nothing but the protocol. */
  readonly withSdk: boolean;
  /** What broken-node.ts is to switch off, which the checker must notice. */
  readonly sabotage?: string | undefined;
  readonly nodeArgs?: readonly string[];
  /** The evidence stays there, a file for each process. */
  readonly keep?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly print: (line: string) => void;
}

export interface ChaosResult {
  readonly verdict: Verdict;
  readonly registry: RegistryVerdict;
  /** What went wrong with the run itself: it counts as failed. */
  readonly troubles: readonly string[];
  /** How often each fault was done. */
  readonly faults: Readonly<Record<string, number>>;
  readonly ok: boolean;
}

const DIST = join(import.meta.dirname, "../../dist");
const NAMESPACE = "chat";
const SECRET = "a secret of the tests, 32 bytes long";
const READY_MS = 60_000;
/** Publications whose answer was lost are repeated for 20 s. */
const SETTLE_MS = 40_000;
/** A member of a killed node is gone once its time-to-live is over, by default a minute, and a reaper passed. */
const PRESENCE_MS = 90_000;
/** Where the nodes keep who is connected to each. */
const HASHES = "ws:connections:";
/** A dead node's hash is gone once its lease is over, by default 10 s, and a reaper passed. */
const REAPED_MS = 30_000;
const STATUS_LINE_MS = 10_000;
const FLOOD = { publications: 120, fillerBytes: 60_000 } as const;
/** What a node counts that says what it went through; printed at the end. */
const METRICS =
  /^starling_(sessions_|session_faults|slow_closes|drop_reports|bridge_reconnects|envelopes_skipped|gaps?|feed|history|repair|stale|heartbeat_timeouts|presence)/;

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { print, seed } = options;
  const troubles: string[] = [];
  const trouble = (what: string): void => {
    troubles.push(what);
    print(`trouble: ${what}`);
  };
  const { historySize, historyTtlMs } = options;
  const rules = {
    historySize,
    historyTtlMs,
    recovery: true,
    presence: true,
    joinLeave: true,
    slowReader: "repair",
  };
  const fleet = await startFleet({
    nodes: options.nodes,
    dist: options.dist ?? DIST,
    sabotage: options.sabotage,
    args: [
      `--namespaces=${JSON.stringify({ [NAMESPACE]: rules })}`,
      "--max-buffered-bytes=262144",
      `--jwt-secret=${SECRET}`,
      ...(options.nodeArgs ?? []),
    ],
    onCrash: trouble,
  });
  const directory = options.keep ?? (await mkdtemp(join(tmpdir(), "starling-chaos-")));
  const processes: Clients[] = [];
  try {
    const run = new Run(options, fleet, processes, directory, trouble);
    const faults = await run.go();
    const { verdict, registry } = await judgeFiles([...processes.map(({ file }) => file), run.file], {
      historySize,
      historyTtlMs,
    });
    print(`registry: ${registry.connections} connections in the hashes, ${registry.claims} sessions resumed`);
    for (const detail of registry.details) print(`registry: ${detail}`);
    return { verdict, registry, troubles, faults, ok: verdict.ok && registry.ok && troubles.length === 0 };
  } finally {
    await Promise.all(processes.map((process) => process.stop()));
    await fleet.stop();
    if (options.keep === undefined) await rm(directory, { recursive: true, force: true });
    else print(`evidence in ${directory} (seed ${seed})`);
  }
}

/** Files of evidence, a line each; of one client all in one file. */
export async function judgeFiles(
  files: readonly string[],
  options: { historySize: number; historyTtlMs: number },
): Promise<{ verdict: Verdict; registry: RegistryVerdict }> {
  const checker = new Checker(options);
  const registry = new RegistryChecker();
  for (const file of files) {
    for await (const line of createInterface({ input: createReadStream(file) })) {
      const evidence = JSON.parse(line) as Evidence | RegistryRecord;
      switch (evidence.kind) {
        case "claim":
        case "hash":
        case "living":
          registry.add(evidence);
          break;
        default:
          checker.add(evidence);
          if (evidence.kind === "end" || evidence.kind === "fault") registry.add(evidence);
      }
    }
  }
  return { verdict: checker.verdict(), registry: registry.verdict() };
}

class Run {
  readonly file: string;
  readonly #evidence;
  readonly #random;
  readonly #channels: readonly string[];
  readonly #look;
  readonly #startedAtMs = Date.now();
  readonly #faultCounts: Record<string, number> = {};
  /** What a fault is being done to. */
  readonly #busy = new Set<unknown>();
  readonly #faults = new Set<Promise<void>>();
  readonly #publishing = new Set<Promise<void>>();
  #published = 0;
  #count = 0;

  constructor(
    readonly options: ChaosOptions,
    readonly fleet: Fleet,
    readonly processes: Clients[],
    directory: string,
    readonly trouble: (what: string) => void,
  ) {
    this.file = join(directory, "run.jsonl");
    this.#evidence = createWriteStream(this.file);
    this.#random = createRandom(options.seed);
    this.#channels = Array.from({ length: options.channels }, (_, index) => `${NAMESPACE}:${index}`);
    this.#look = fleet.redis.client();
    processes.push(
      ...startClients(
        {
          ...options,
          urls: fleet.nodes.map(({ wsUrl }) => wsUrl),
          channels: this.#channels,
          dist: options.withSdk ? (options.dist ?? DIST) : undefined,
          secret: SECRET,
        },
        directory,
        trouble,
      ),
    );
  }

  async go(): Promise<Record<string, number>> {
    const { print, seconds, signal } = this.options;
    const ready = await until(() => this.#sum("ready") === this.options.clients, READY_MS, signal);
    if (!ready) {
      this.trouble(`only ${this.#sum("ready")} of ${this.options.clients} clients could subscribe`);
      return this.#faultCounts;
    }
    print(`${this.options.clients} clients are subscribed; faults for ${seconds} s`);
    const publishing = setInterval(() => this.#publish(), 2_000 / this.options.rate);
    const status = setInterval(() => print(this.#statusLine()), STATUS_LINE_MS);
    try {
      await this.#doFaults();
      await Promise.all(this.#faults);
    } finally {
      clearInterval(publishing);
      clearInterval(status);
    }
    for (const process of this.processes) process.send({ kind: "quiet" });
    await this.#settle();
    await this.#listHashes();
    await this.#listPresence();
    await Promise.all(this.processes.map((process) => process.finish()));
    await this.#printMetrics();
    await new Promise((resolve) => this.#evidence.end(resolve));
    return this.#faultCounts;
  }

  #record(evidence: Evidence | RegistryRecord): void {
    this.#evidence.write(`${JSON.stringify(evidence)}\n`);
  }

  #sum(field: StatusNumber): number {
    return sumOf(this.processes, field);
  }

  #seconds(): string {
    return `${((Date.now() - this.#startedAtMs) / 1_000).toFixed(1).padStart(6)} s`;
  }

  #statusLine(): string {
    const published = this.#published + this.#sum("published");
    return (
      `${this.#seconds()}  ${this.#sum("ready")} clients ready, ${published} published, ` +
      `${this.#sum("received")} received, ${this.#sum("connects")} connects, ` +
      `${this.#sum("superseded")} superseded`
    );
  }

  #publish(channel = this.#random.pick(this.#channels), filler = ""): void {
    const running = this.fleet.nodes.filter(({ running }) => running);
    if (running.length === 0) return;
    const node = running[this.#count % running.length]!;
    const publishing = publishByApi(node, `api:${this.#count++}`, channel, filler).then((publication) => {
      if (publication.outcome === "acked") this.#published++;
      this.#record(publication);
      this.#publishing.delete(publishing);
    });
    this.#publishing.add(publishing);
  }

  async #doFaults(): Promise<void> {
    const { seconds, paceSeconds, faults, signal } = this.options;
    const deadline = performance.now() + seconds * 1_000;
    // The schedule has numbers of its own: what clients do does not change it.
    const random = createRandom(this.options.seed);
    const first = [...(this.options.first ?? [])];
    const menu = faults.flatMap((name) => Array.from({ length: FAULTS[name].weight }, () => name));
    for (;;) {
      await delay(random.between(0.5, 1.5) * paceSeconds * 1_000);
      if (performance.now() > deadline || signal?.aborted === true) return;
      const name = first[0] ?? random.pick(menu);
      const node = random.pick(this.fleet.nodes);
      const fault: Fault = FAULTS[name];
      const target = fault.target === "node" ? node : fault.target;
      const free = !this.#busy.has(target);
      // One node at least is left alone.
      const others = this.fleet.nodes.filter((one) => one !== node && !this.#busy.has(one));
      if (!free || (fault.target === "node" && others.length === 0)) continue;
      first.shift();
      this.#busy.add(target);
      const done = this.#do(name, fault, node).finally(() => {
        this.#busy.delete(target);
        this.#faults.delete(done);
      });
      this.#faults.add(done);
    }
  }

  async #do(name: FaultName, fault: Fault, node: FleetNode): Promise<void> {
    const where = fault.target === "node" ? ` ${node.name}` : "";
    this.options.print(`${this.#seconds()}  fault: ${name}${where}`);
    this.#faultCounts[name] = (this.#faultCounts[name] ?? 0) + 1;
    let startMs = Date.now();
    const context = {
      fleet: this.fleet,
      look: this.#look,
      random: this.#random,
      scale: this.options.scale,
      dropClients: (share: number) => {
        for (const process of this.processes) process.send({ kind: "drop", share });
      },
      floodSlowReader: (ms: number) => this.#flood(ms),
    };
    try {
      await fault.run(context, node, () => (startMs = Date.now()));
    } catch (error) {
      this.trouble(`${name}${where} could not be done: ${String(error)}`);
    }
    const { losesData } = fault;
    this.#record({ kind: "fault", name: `${name}${where}`, startMs, endMs: Date.now(), losesData });
  }

  async #flood(ms: number): Promise<void> {
    const channel = this.#random.pick(this.#channels);
    this.#random.pick(this.processes).send({ kind: "pause", ms, channel });
    const filler = "x".repeat(FLOOD.fillerBytes);
    for (let sent = 0; sent < FLOOD.publications; sent++) {
      this.#publish(channel, filler);
      await delay(ms / 2 / FLOOD.publications);
    }
    await delay(ms / 2);
  }

  /** No fault any more: all comes to rest, and every channel gets a last publication. */
  async #settle(): Promise<void> {
    const { print } = this.options;
    print(`${this.#seconds()}  faults are over: settling`);
    const isReady = async (): Promise<boolean> =>
      (await Promise.all(this.fleet.nodes.map((node) => node.ready()))).every(Boolean);
    if (!(await until(isReady, READY_MS))) this.trouble("a node did not become ready again");
    await Promise.all(this.#publishing);
    if (!(await until(() => this.#sum("unsettled") === 0, SETTLE_MS))) {
      this.trouble(`${this.#sum("unsettled")} publications were never settled`);
    }
    if (!(await until(() => this.#sum("ready") === this.options.clients, READY_MS))) {
      this.trouble(`only ${this.#sum("ready")} of ${this.options.clients} clients came back`);
    }
    const tops: Record<string, Position> = {};
    for (const channel of this.#channels) {
      const top = await this.#publishLast(channel);
      if (top === undefined) this.trouble(`nothing could be published to ${channel} in the end`);
      else tops[channel] = top;
    }
    for (const process of this.processes) process.send({ kind: "tops", tops });
    // What is still missing is for the checker to find.
    await delay(1_000);
    const caughtUp = await until(() => this.#sum("behind") === 0, this.options.catchUpSeconds * 1_000);
    print(
      caughtUp
        ? `${this.#seconds()}  every client is at the top of its channels`
        : `${this.#seconds()}  ${this.#sum("behind")} clients are not at the top of their channels`,
    );
  }

  async #publishLast(channel: string): Promise<Position | undefined> {
    for (let attempt = 0; attempt < 20; attempt++) {
      const node = this.fleet.nodes[attempt % this.fleet.nodes.length]!;
      const publication = await publishByApi(node, `last:${this.#count++}`, channel);
      this.#record(publication);
      if (publication.outcome === "acked") return publication.position;
      await delay(250);
    }
    return undefined;
  }

  /** What the registry has, once the dead are reaped or the time in which they must be is over. */
  async #listHashes(): Promise<void> {
    const nodes = this.fleet.nodes.map(({ id }) => id);
    let hashes: { node: string; connections: string[] }[] = [];
    const read = async (key: string): Promise<{ node: string; connections: string[] }> => ({
      node: key.slice(HASHES.length),
      connections: await this.#look.hkeys(key),
    });
    const complete = await until(async () => {
      hashes = await Promise.all((await this.#look.keys(`${HASHES}*`)).map(read));
      const count = hashes.reduce((sum, { connections }) => sum + connections.length, 0);
      return count === this.options.clients && hashes.every(({ node }) => nodes.includes(node));
    }, REAPED_MS);
    this.options.print(
      `${this.#seconds()}  the registry ${complete ? "agrees" : "does not agree"} in number`,
    );
    this.#record({ kind: "living", nodes });
    for (const hash of hashes) this.#record({ kind: "hash", ...hash });
  }

  /** Until every node says what is so, or the time in which it must is over; the last answer is judged. */
  async #listPresence(): Promise<void> {
    const { print } = this.options;
    const expected = this.options.clients * Math.min(this.options.channelsPerClient, this.#channels.length);
    const asking = await Promise.all(this.fleet.nodes.map((node) => PresenceAsker.open(node)));
    try {
      let lists: (readonly string[] | undefined)[][] = [];
      const complete = await until(async () => {
        lists = await Promise.all(
          asking.map((asker) => Promise.all(this.#channels.map((channel) => asker.members(channel)))),
        );
        const counts = lists.map((list) => list.reduce((sum, members) => sum + (members?.length ?? 0), 0));
        return lists.flat().includes(undefined) || counts.every((count) => count === expected);
      }, PRESENCE_MS);
      if (lists.flat().includes(undefined)) return this.trouble("a node does not tell who is present");
      print(`${this.#seconds()}  presence ${complete ? "agrees in number" : "does not agree in number"}`);
      for (const [index, list] of lists.entries()) {
        for (const [at, connections] of list.entries()) {
          const { name } = this.fleet.nodes[index]!;
          this.#record({
            kind: "presence",
            node: name,
            channel: this.#channels[at]!,
            connections: connections!,
          });
        }
      }
    } finally {
      for (const asker of asking) asker.close();
    }
  }

  async #printMetrics(): Promise<void> {
    for (const node of this.fleet.nodes) {
      const metrics = [...(await node.metrics())].filter(
        ([series, value]) => METRICS.test(series) && !/_bucket|_sum/.test(series) && value !== 0,
      );
      const told = metrics.map(([series, value]) => `${series.replace("starling_", "")} ${value}`);
      this.options.print(`${node.name}: ${told.join(", ")}`);
      const faults = metrics.find(([series]) => series === "starling_session_faults_total")?.[1] ?? 0;
      if (faults > 0) this.trouble(`${node.name} ended ${faults} sessions by a fault of its own`);
    }
  }
}

/** A connection that only asks who is where. */
class PresenceAsker {
  readonly #waiting = new Map<number, (connections: readonly string[] | undefined) => void>();
  #nextId = 1;

  private constructor(readonly socket: WebSocket) {
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", () => this.#answerAll());
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as { id?: number; members?: { connection: string }[] };
      const answer = this.#waiting.get(frame.id ?? 0);
      this.#waiting.delete(frame.id ?? 0);
      answer?.(frame.members?.map(({ connection }) => connection));
    });
  }

  static async open(node: FleetNode): Promise<PresenceAsker> {
    const token = await tokenOf("asker", SECRET);
    const socket = new WebSocket(`${node.wsUrl}/?token=${token}`, ["starling.v1.json"]);
    const asker = new PresenceAsker(socket);
    await once(socket, "open");
    return asker;
  }

  /** @returns undefined where the node does not say */
  members(channel: string): Promise<readonly string[] | undefined> {
    if (this.socket.readyState !== WebSocket.OPEN) return Promise.resolve(undefined);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.socket.send(JSON.stringify({ action: "presence", id, channel }));
    });
  }

  close(): void {
    this.socket.terminate();
  }

  #answerAll(): void {
    for (const answer of this.#waiting.values()) answer(undefined);
    this.#waiting.clear();
  }
}
