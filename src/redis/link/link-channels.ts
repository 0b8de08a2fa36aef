/**
 * The channels of the bus that a node hears, and the probes that tell whether messages come by them: on a Cluster one
 * for each slot that has channels of ours, elsewhere one.
 */

import type { Log } from "../../core/log.js";
import type { Stats } from "../../core/stats.js";
import type { Keys } from "./keys.js";
import { Probe } from "./probe.js";
import { hashTag, slotOf } from "./slots.js";
import type { Wanted } from "./subscriber.js";

export interface LinkChannelsOptions {
  readonly nodeId: string;
  readonly keys: Keys;
  readonly sharded: boolean;
  readonly probeTimeoutMs: number;
  readonly stats: Stats;
  readonly log: Log;
  send(channel: string, text: string): Promise<void>;
  /** This and the next two as a probe has them. */
  passed(tookMs: number): void;
  refused(error: unknown): void;
  missing(channel: string, slot: number, accepted: boolean): void;
}

interface Channel extends Wanted {
  readonly handler: (bytes: Buffer) => void;
  /** Whose way the channel's messages come. */
  readonly probe: Probe;
}

export class LinkChannels {
  readonly #options: LinkChannelsOptions;
  readonly #channels = new Map<string, Channel>();
  /** By slot; one elsewhere. */
  readonly #probes = new Map<number, Probe>();

  constructor(options: LinkChannelsOptions) {
    this.#options = options;
    if (!options.sharded) this.#probeFor(0, undefined);
  }

  /** All of them, those of the probes too. */
  get wanted(): ReadonlyMap<string, Wanted> {
    return this.#channels;
  }

  /** Whether each probe passed since the last drop. */
  get fine(): boolean {
    return this.notFine.length === 0;
  }

  /** By which channels probes go that did not pass. */
  get notFine(): string[] {
    return [...this.#probes.values()].filter(({ fine }) => !fine).map(({ channel }) => channel);
  }

  subscribe(channel: string, handler: (bytes: Buffer) => void): void {
    const tag = this.#options.sharded ? hashTag(channel) : undefined;
    const slot = tag === undefined ? 0 : slotOf(tag);
    this.#channels.set(channel, { handler, probe: this.#probeFor(slot, tag), plain: false, slot });
  }

  subscribePlain(channel: string, handler: (bytes: Buffer) => void): void {
    // Any node of a Cluster has it: one that is probed anyway.
    const [known] = this.#probes;
    const [slot, probe] = known ?? [slotOf(channel), this.#probeFor(slotOf(channel), hashTag(channel))];
    this.#channels.set(channel, { handler, probe, plain: true, slot });
  }

  #probeFor(slot: number, tag: string | undefined): Probe {
    const known = this.#probes.get(slot);
    if (known !== undefined) return known;
    const options = this.#options;
    const channel = options.keys.probe(options.nodeId, tag);
    const probe = new Probe({
      channel,
      timeoutMs: options.probeTimeoutMs,
      log: options.log,
      send: (text) => options.send(channel, text),
      passed: (tookMs) => options.passed(tookMs),
      refused: (error) => options.refused(error),
      missing: (accepted) => options.missing(channel, slot, accepted),
    });
    this.#probes.set(slot, probe);
    const handler = (bytes: Buffer): void => probe.receive(bytes.toString("latin1"));
    this.#channels.set(channel, { handler, probe, plain: false, slot });
    return probe;
  }

  /** A message came from the bus. */
  receive(name: string, bytes: Buffer): void {
    const channel = this.#channels.get(name);
    if (channel === undefined) return;
    channel.probe.heard();
    try {
      channel.handler(bytes);
    } catch (error) {
      // Not into ioredis: it would end the process.
      this.#options.stats.sessionFaults++;
      this.#options.log.error({ err: error, channel: name }, "a bus handler threw");
    }
  }

  probe(): void {
    for (const probe of this.#probes.values()) probe.start();
  }

  /** Gives up the probes that are under way, and what is known by them. */
  drop(): void {
    for (const probe of this.#probes.values()) probe.drop();
  }
}
