/** A process full of recovering clients for clients.ts, which forks it and talks to it over IPC. */

import { createWriteStream } from "node:fs";
import type { Position } from "./checker.js";
import { PassingPublisher } from "./passing-publisher.js";
import { PusherJsClient } from "./pusher-js-client.js";
import { createRandom } from "./random.js";
import type { Recorded, RecordingClient, RecordingClientOptions } from "./recording-client.js";
import { RecoveringClient } from "./recovering-client.js";
import { loadSdk } from "./sdk-client.js";
import { infoOf, tokenOf } from "./token.js";

export interface ClientsOptions {
  /** In every id that this process makes. */
  readonly name: string;
  readonly urls: readonly string[];
  readonly clients: number;
  /** Directory of the built package; of every two clients one uses its SDK. Without: none does. */
  readonly dist: string | undefined;
  readonly channels: readonly string[];
  readonly channelsPerClient: number;
  /** Without history, of which each client takes as many. */
  readonly passingChannels: readonly string[];
  /** Publications a second of all its clients. */
  readonly rate: number;
  readonly seed: number;
  /** What the nodes check tokens with: each client is a user of its own, and keeps rosters. */
  readonly secret: string | undefined;
  /** Of the JSON that each shows of itself; 0: it shows nothing. */
  readonly infoBytes: number;
  /** Key of an app: the clients are pusher-js, of channels without history alone, and publish nothing. */
  readonly pusherKey: string | undefined;
  /** Where the evidence goes, a line each. */
  readonly file: string;
}

export type ClientsRequest =
  | { readonly kind: "start"; readonly options: ClientsOptions }
  /** Some clients lose their connections. */
  | { readonly kind: "drop"; readonly share: number }
  /** One client reads nothing for a while. */
  | { readonly kind: "pause"; readonly ms: number; readonly channel: string }
  | { readonly kind: "quiet" }
  /** Where every channel ended: clients that are not there yet are counted in the status. */
  | { readonly kind: "tops"; readonly tops: Readonly<Record<string, Position>> }
  | { readonly kind: "finish" };

export interface ClientsStatus {
  readonly ready: number;
  readonly unsettled: number;
  readonly published: number;
  readonly received: number;
  /** Clients that are not at every top. */
  readonly behind: number;
  readonly connects: number;
  readonly superseded: number;
  readonly finished: boolean;
  /** New ones since the last status. */
  readonly troubles: readonly string[];
}

const STATUS_MS = 200;
const CONNECT_SPREAD_MS = 2_000;
const clients: RecordingClient[] = [];
const troubles: string[] = [];
let published = 0;
let received = 0;
let quiet = false;
let tops: Readonly<Record<string, Position>> = {};
let random = createRandom(0);
let stop: () => Promise<void> = () => Promise.resolve();

async function start(options: ClientsOptions): Promise<void> {
  random = createRandom(options.seed);
  const sdk = options.dist === undefined ? undefined : await loadSdk(options.dist);
  const { pusherKey } = options;
  const create = (number: number, own: RecordingClientOptions): RecordingClient => {
    if (pusherKey !== undefined) return new PusherJsClient(own, pusherKey);
    return sdk === undefined || number % 2 === 0 ? new RecoveringClient(own) : sdk(own);
  };
  const file = createWriteStream(options.file);
  const record = (evidence: Recorded): void => {
    if (evidence.kind === "message" || evidence.kind === "passing-message") received++;
    file.write(`${JSON.stringify(evidence)}\n`);
  };
  const { name, urls, channels, channelsPerClient, passingChannels, secret, infoBytes } = options;
  for (let number = 0; number < options.clients; number++) {
    const user = `${name}-${number}`;
    const info = infoBytes === 0 ? undefined : infoOf(user, infoBytes);
    const identity =
      secret === undefined
        ? undefined
        : { user, token: await tokenOf(user, secret, info), info: info && JSON.stringify(info) };
    setTimeout(
      () =>
        clients.push(
          create(number, {
            name: user,
            identity,
            rosters: secret !== undefined,
            urls,
            channels: random.sample(channels, channelsPerClient),
            passing: random.sample(passingChannels, channelsPerClient),
            random,
            record,
            trouble: (what) => troubles.push(what),
          }),
        ),
      (number / options.clients) * CONNECT_SPREAD_MS,
    );
  }
  let count = 0;
  const passing = new Map<RecordingClient, PassingPublisher>();
  const publishPassing = (client: RecordingClient): void => {
    let publisher = passing.get(client);
    if (publisher === undefined) {
      const publish = client.publishPassing.bind(client);
      passing.set(client, (publisher = new PassingPublisher(client.name, publish)));
    }
    publisher.publish(random.pick(passingChannels)).then((publication) => {
      if (publication?.outcome === "acked") published++;
      if (publication !== undefined) file.write(`${JSON.stringify(publication)}\n`);
    }, fail);
  };
  const publishing = setInterval(() => {
    const able = quiet || pusherKey !== undefined ? [] : clients.filter(({ connected }) => connected);
    if (able.length === 0) return;
    const client = random.pick(able);
    if (passingChannels.length > 0 && random.next() < 0.5) return publishPassing(client);
    client.publish(`${name}:${count++}`, random.pick(channels)).then((publication) => {
      if (publication.outcome === "acked") published++;
      record(publication);
    }, fail);
  }, 1_000 / options.rate);
  stop = async () => {
    clearInterval(publishing);
    for (const client of clients) client.end();
    // What was settled just now is recorded in the next turns.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await new Promise((resolve) => file.end(resolve));
  };
}

function behind(client: RecordingClient): boolean {
  return client.channels.some((channel) => {
    const top = tops[channel];
    const at = client.standsAt(channel);
    return top !== undefined && !(at?.epoch === top.epoch && at.offset >= top.offset);
  });
}

function report(finished: boolean): void {
  const status: ClientsStatus = {
    ready: clients.filter(({ ready }) => ready).length,
    unsettled: clients.reduce((sum, { unsettled }) => sum + unsettled, 0),
    published,
    received,
    behind: clients.filter(behind).length,
    connects: clients.reduce((sum, { connects }) => sum + connects, 0),
    superseded: clients.reduce((sum, { superseded }) => sum + superseded, 0),
    finished,
    troubles: troubles.splice(0),
  };
  process.send?.(status);
}

function fail(error: unknown): never {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
}

process.on("message", (request: ClientsRequest) => {
  if (request.kind === "start") start(request.options).catch(fail);
  else if (request.kind === "drop") {
    for (const client of clients) if (random.next() < request.share) client.drop();
  } else if (request.kind === "pause") {
    clients.find(({ channels }) => channels.includes(request.channel))?.pause(request.ms);
  } else if (request.kind === "quiet") quiet = true;
  else if (request.kind === "tops") tops = request.tops;
  else {
    stop().then(() => {
      report(true);
      process.disconnect();
    }, fail);
  }
});
process.on("disconnect", () => process.exit(0));
setInterval(() => {
  if (process.connected) report(false);
}, STATUS_MS);
