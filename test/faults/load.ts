/** Clients and publications that go on while something is done to nodes, and what they leave for the checkers. */

import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Position } from "./checker.js";
import { startClients, sumOf, until, type Clients, type CrowdOptions, type StatusNumber } from "./clients.js";
import type { FleetNode } from "./fleet.js";
import type { AnyEvidence } from "./judge.js";
import type { PassingPublication } from "./passing-checker.js";
import { PassingPublisher } from "./passing-publisher.js";
import { publishByApi } from "./publisher.js";
import { createRandom, type Random } from "./random.js";

export interface LoadOptions extends CrowdOptions {
  readonly directory: string;
  /** Where the server API is, at this moment: none is asked while it is empty. */
  apis(): readonly Pick<FleetNode, "apiUrl">[];
  /** How long clients are waited for that are not at the top of their channels in the end. */
  readonly catchUpMs: number;
  /** How long all clients may take to be subscribed. */
  readonly readyMs: number;
  readonly trouble: (what: string) => void;
}

/** Publications whose answer was lost are repeated for 20 s. */
const SETTLE_MS = 40_000;
const LAST_ATTEMPTS = 20;
const LAST_RETRY_MS = 250;

export class Load {
  readonly processes: readonly Clients[];
  readonly random: Random;
  readonly #options: LoadOptions;
  readonly #file: string;
  readonly #evidence;
  readonly #publishing = new Set<Promise<void>>();
  readonly #passing: PassingPublisher;
  #timer: NodeJS.Timeout | undefined;
  #published = 0;
  #count = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#file = join(options.directory, "run.jsonl");
    this.#evidence = createWriteStream(this.#file);
    this.random = createRandom(options.seed);
    this.#passing = new PassingPublisher("api", (id, channel) => this.#sendPassing(id, channel));
    this.processes = startClients(options, options.directory, options.trouble);
  }

  /** Of evidence, once it has finished. */
  get files(): readonly string[] {
    return [...this.processes.map(({ file }) => file), this.#file];
  }

  /** Publications that were acknowledged. */
  get published(): number {
    return this.#published + this.sum("published");
  }

  sum(field: StatusNumber): number {
    return sumOf(this.processes, field);
  }

  record(evidence: AnyEvidence): void {
    this.#evidence.write(`${JSON.stringify(evidence)}\n`);
  }

  /** Whether every client has all of its channels in time; else that is a trouble. */
  async isReady(what: string, signal?: AbortSignal): Promise<boolean> {
    const { clients, readyMs, trouble } = this.#options;
    if (await until(() => this.sum("ready") === clients, readyMs, signal)) return true;
    trouble(`only ${this.sum("ready")} of ${clients} clients ${what}`);
    return false;
  }

  /** By the server API: clients publish by themselves. */
  start(): void {
    const { channels, passingChannels = [] } = this.#options;
    const passingShare = channels.length === 0 ? 1 : passingChannels.length === 0 ? 0 : 0.5;
    this.#timer = setInterval(() => {
      if (this.random.next() >= passingShare) this.publish();
      else this.#publishPassing(this.random.pick(passingChannels));
    }, 2_000 / this.#options.rate);
  }

  stopPublishing(): void {
    clearInterval(this.#timer);
  }

  publish(channel = this.random.pick(this.#options.channels), filler = ""): void {
    const api = this.#nextApi();
    if (api === undefined) return;
    const sending = publishByApi(api, `api:${this.#count}`, channel, filler).then((publication) => {
      if (publication.outcome === "acked") this.#published++;
      this.record(publication);
    });
    this.#untilSettled(sending);
  }

  #publishPassing(channel: string): void {
    const sending = this.#passing.publish(channel).then((publication) => {
      if (publication === undefined) return;
      if (publication.outcome === "acked") this.#published++;
      this.record(publication);
    });
    this.#untilSettled(sending);
  }

  async #sendPassing(id: string, channel: string): Promise<PassingPublication["outcome"]> {
    const api = this.#nextApi();
    return api === undefined ? "refused" : (await publishByApi(api, id, channel)).outcome;
  }

  /** By turns. */
  #nextApi(): Pick<FleetNode, "apiUrl"> | undefined {
    const apis = this.#options.apis();
    return apis[this.#count++ % apis.length];
  }

  #untilSettled(sending: Promise<void>): void {
    const settled = sending.then(() => void this.#publishing.delete(settled));
    this.#publishing.add(settled);
  }

  dropClients(share: number): void {
    for (const process of this.processes) process.send({ kind: "drop", share });
  }

  /** Nothing is published any more but one last publication to every channel, and all comes to rest. @returns whether it did */
  async settle(): Promise<boolean> {
    const { channels, catchUpMs, trouble } = this.#options;
    this.stopPublishing();
    for (const process of this.processes) process.send({ kind: "quiet" });
    await Promise.all(this.#publishing);
    if (!(await until(() => this.sum("unsettled") === 0, SETTLE_MS))) {
      trouble(`${this.sum("unsettled")} publications were never settled`);
    }
    await this.isReady("came back");
    const tops: Record<string, Position> = {};
    for (const channel of channels) {
      const top = await this.#publishLast(channel);
      if (top === undefined) trouble(`nothing could be published to ${channel} in the end`);
      else tops[channel] = top;
    }
    for (const process of this.processes) process.send({ kind: "tops", tops });
    // The next status counts those that are behind; what is still missing is for the checker to find.
    await delay(1_000);
    return until(() => this.sum("behind") === 0, catchUpMs);
  }

  async #publishLast(channel: string): Promise<Position | undefined> {
    for (let attempt = 0; attempt < LAST_ATTEMPTS; attempt++) {
      const api = this.#nextApi();
      if (api !== undefined) {
        const publication = await publishByApi(api, `last:${this.#count}`, channel);
        this.record(publication);
        if (publication.outcome === "acked") return publication.position;
      }
      await delay(LAST_RETRY_MS);
    }
    return undefined;
  }

  /** The clients leave, and the files are complete. */
  async finish(): Promise<void> {
    await Promise.all(this.processes.map((process) => process.finish()));
    await new Promise((resolve) => this.#evidence.end(resolve));
  }

  /** Ends the processes, finished or not. */
  async stop(): Promise<void> {
    this.stopPublishing();
    await Promise.all(this.processes.map((process) => process.stop()));
  }
}
