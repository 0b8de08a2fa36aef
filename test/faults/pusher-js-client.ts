/** pusher-js, unchanged, as an application has it, that records what its handlers were told of channels without history. */

import { createRequire } from "node:module";
import type * as PusherJs from "pusher-js";
import type { PublicationRecord } from "./checker.js";
import { idOf, type RecordingClient, type RecordingClientOptions } from "./recording-client.js";

// Its types say that the class is the module's default, but it is the module.
const Pusher = createRequire(import.meta.url)("pusher-js") as new (
  key: string,
  options: PusherJs.Options,
) => PusherJs.default;

const NEVER = "a client of Pusher has no positions, and publishes nothing here";

export class PusherJsClient implements RecordingClient {
  readonly channels: readonly string[] = [];
  readonly unsettled = 0;
  readonly superseded = 0;
  readonly #options: RecordingClientOptions;
  readonly #pusher: PusherJs.default;
  readonly #passing: readonly string[];
  /** Those that it holds. */
  readonly #held = new Set<string>();
  #ended = false;
  connects = 0;

  /** @param key  of the app */
  constructor(options: RecordingClientOptions, key: string) {
    this.#options = options;
    this.#passing = options.passing ?? [];
    const { hostname, port } = new URL(options.random.pick(options.urls));
    this.#pusher = new Pusher(key, {
      ...{ cluster: "", wsHost: hostname, wsPort: Number(port), forceTLS: false },
      ...{ enabledTransports: ["ws"], enableStats: false },
    });
    const { connection } = this.#pusher;
    connection.bind("state_change", ({ current }: { readonly current: string }) => {
      if (current === "connected") this.connects++;
      else for (const channel of [...this.#held]) this.#lost(channel);
    });
    for (const name of this.#passing) this.#follow(this.#pusher.subscribe(name));
  }

  get name(): string {
    return this.#options.name;
  }

  get connected(): boolean {
    return this.#pusher.connection.state === "connected";
  }

  get ready(): boolean {
    return this.connected && this.#held.size === this.#passing.length;
  }

  standsAt(): undefined {
    return undefined;
  }

  publish(): Promise<PublicationRecord> {
    return Promise.reject(new Error(NEVER));
  }

  publishPassing(): Promise<never> {
    return Promise.reject(new Error(NEVER));
  }

  pause(): void {
    throw new Error("pusher-js has no socket to pause");
  }

  drop(): void {
    this.#pusher.disconnect();
    this.#pusher.connect();
  }

  end(): void {
    this.#ended = true;
    this.#pusher.disconnect();
  }

  #follow(channel: PusherJs.Channel): void {
    const { name } = channel;
    channel.bind("pusher:subscription_succeeded", () => {
      this.#held.add(name);
      this.#sees(name, { kind: "passing-held" });
    });
    channel.bind("pusher:subscription_error", (error: unknown) => {
      this.#options.trouble(`${this.name} may not subscribe to ${name}: ${JSON.stringify(error)}`);
    });
    channel.bind("message", (content: unknown) => {
      this.#sees(name, { kind: "passing-message", id: idOf(content) });
    });
  }

  #lost(channel: string): void {
    this.#held.delete(channel);
    this.#sees(channel, { kind: "passing-lost" });
  }

  #sees(
    channel: string,
    what: { kind: "passing-held" | "passing-lost" } | { kind: "passing-message"; id: string },
  ): void {
    if (this.#ended) return;
    this.#options.record({ client: this.name, channel, atMs: Date.now(), ...what });
  }
}
