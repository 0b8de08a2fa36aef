/** Clients that come back from their positions, and the checker's verdict on what they saw: for tests of one fault. */

import { until } from "../support/nodes.js";
import { judge, type Evidence, type PublicationRecord, type Verdict } from "./checker.js";
import { createRandom } from "./random.js";
import { RecoveringClient } from "./recovering-client.js";

export interface CrowdOptions {
  readonly urls: readonly string[];
  readonly clients: number;
  readonly channels: readonly string[];
  readonly seed?: number;
}

/** What the namespace `chat` of these tests keeps. */
export const HISTORY = { historySize: 1_000, historyTtlMs: 600_000 } as const;

/** A namespace as an option of a node in this process. */
export function chat(rules: object = {}): object {
  return { namespaces: { chat: { ...HISTORY, recovery: true, ...rules } } };
}

/** The same for a node of its own process: as text. */
export function chatFlag(rules: object = {}): object {
  return { namespaces: JSON.stringify({ chat: { ...HISTORY, recovery: true, ...rules } }) };
}

const CATCH_UP_MS = 20_000;
let crowds = 0;

export class Crowd {
  readonly evidence: Evidence[] = [];
  /** What clients found that is in no record. */
  readonly troubles: string[] = [];
  readonly clients: RecoveringClient[];
  readonly #channels: readonly string[];
  readonly #random;
  readonly #publishing = new Set<Promise<void>>();
  readonly #name = `crowd${crowds++}`;
  #count = 0;

  constructor({ urls, clients, channels, seed = 1 }: CrowdOptions) {
    this.#channels = channels;
    this.#random = createRandom(seed);
    this.clients = Array.from(
      { length: clients },
      (_, index) =>
        new RecoveringClient({
          name: `${this.#name}-${index}`,
          urls,
          channels,
          random: this.#random,
          record: (evidence) => {
            // Its channels have history.
            if (!/^(claim|passing-)/.test(evidence.kind)) this.evidence.push(evidence as Evidence);
          },
          trouble: (what) => this.troubles.push(what),
        }),
    );
  }

  ready(): Promise<boolean> {
    return until("ready", () => this.clients.every(({ ready }) => ready), CATCH_UP_MS);
  }

  /** One publication by any client that is connected; settled in its own time. */
  publish(filler?: string, client = this.#publisher()): Promise<PublicationRecord> {
    const publication = client.publish(
      `${this.#name}:${this.#count++}`,
      this.#random.pick(this.#channels),
      filler,
    );
    const recorded = publication.then((record) => {
      this.evidence.push(record);
      this.#publishing.delete(recorded);
    });
    this.#publishing.add(recorded);
    return publication;
  }

  /** Publishes all the time until the action is over. */
  async during<T>(action: () => Promise<T>, everyMs = 10): Promise<T> {
    const timer = setInterval(() => {
      if (this.clients.some(({ connected }) => connected)) void this.publish();
    }, everyMs);
    try {
      return await action();
    } finally {
      clearInterval(timer);
    }
  }

  /** Writes a fault down, by which Redis loses data or not. */
  async fault<T>(name: string, losesData: boolean, action: () => Promise<T>): Promise<T> {
    const startMs = Date.now();
    const result = await action();
    this.evidence.push({ kind: "fault", name, startMs, endMs: Date.now(), losesData });
    return result;
  }

  get received(): number {
    return this.evidence.filter(({ kind }) => kind === "message").length;
  }

  /** A last publication in every channel; then everyone has everything, or it is for the verdict to say. */
  async verdict(): Promise<Verdict> {
    await this.ready();
    await Promise.all(this.#publishing);
    const tops: PublicationRecord[] = [];
    for (const channel of this.#channels) {
      const top = await until(`a publication in ${channel}`, async () => {
        const record = await this.#publisher().publish(`${this.#name}:${this.#count++}`, channel);
        this.evidence.push(record);
        return record.outcome === "acked" ? record : undefined;
      });
      tops.push(top);
    }
    const deadline = performance.now() + CATCH_UP_MS;
    while (performance.now() < deadline && !this.#allAt(tops)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.end();
    return judge(this.evidence, HISTORY);
  }

  end(): void {
    for (const client of this.clients.splice(0)) client.end();
  }

  #publisher(): RecoveringClient {
    return this.#random.pick(this.clients.filter(({ connected }) => connected));
  }

  #allAt(tops: readonly PublicationRecord[]): boolean {
    return tops.every(({ channel, position }) =>
      this.clients.every((client) => {
        const at = client.standsAt(channel);
        return at?.epoch === position!.epoch && at.offset >= position!.offset;
      }),
    );
  }
}
