import { WebSocket } from "ws";
import { afterEach } from "vitest";
import {
  connect,
  type Client,
  type ConnectOptions,
  type StarlingError,
  type StateChange,
  type Urls,
} from "../../../src/client/index.js";
import { until as named } from "../../support/eventually.js";
import { FakeServer, TestClock, type FakeServerOptions } from "../../support/fake-server.js";

export interface Setup {
  server: FakeServer;
  client: Client;
  clock: TestClock;
  changes: StateChange[];
  errors: StarlingError[];
}

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export async function startServer(options: FakeServerOptions = {}): Promise<FakeServer> {
  const server = await FakeServer.start(options);
  cleanups.push(() => server.stop());
  return server;
}

/** A client whose clock stands still and whose jitter is the whole ceiling. */
export function startClient(url: Urls, options: ConnectOptions = {}): Omit<Setup, "server"> {
  const clock = new TestClock();
  const client = connect(url, { WebSocket, clock, random: () => 1, ...options });
  cleanups.push(() => client.close());
  const changes: StateChange[] = [];
  const errors: StarlingError[] = [];
  client.on("state", (change) => changes.push(change));
  client.on("error", (error) => errors.push(error));
  return { client, clock, changes, errors };
}

export async function setUp(options: ConnectOptions = {}, script: FakeServerOptions = {}): Promise<Setup> {
  const server = await startServer(script);
  return { server, ...startClient(server.url, options) };
}

export async function connected(setup: Setup): Promise<void> {
  await until(() => setup.client.state === "connected");
}

/** What was waited for is named by its text. */
export const until = (condition: () => boolean): Promise<boolean> => named(condition.toString(), condition);

export function retriesOf(changes: StateChange[]): number[] {
  return changes.flatMap((change) => (change.state === "waiting" ? [change.retryInMs] : []));
}

/** What a promise rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<StarlingError> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved with ${JSON.stringify(value)}`)),
    (error: StarlingError) => error,
  );
}
