/**
 * The bench's servers of the Pusher protocol. Soketi is where SOKETI_PATH names the folder that it was installed in;
 * nothing downloads it, and without it what needs it is told as skipped. Nothing here says how fast anything is.
 */

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { peerByName } from "../../bench/peers/index.js";
import { protocolByName } from "../../bench/protocols/index.js";
import type { BenchResult, PeerName, RunningPeer } from "../../bench/types.js";
import { eventually } from "../support/eventually.js";
import { root } from "../support/program.js";

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;
const soketi = process.env["SOKETI_PATH"];
const CONTENTS = ["hi", 'quotes " and \\', "é 🐦", "last"];

let folder: string;
const cleanUps: (() => Promise<void> | void)[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "starling-bench-pusher-test-"));
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function start(name: PeerName): Promise<RunningPeer> {
  const peer = await peerByName(name, { ...(soketi !== undefined && { soketi }) });
  const running = await peer.start({ nodes: 1, features: {} });
  cleanUps.push(() => running.stop());
  return running;
}

/** A subscriber of the channel, as the generator is one. */
async function subscribe({ nodes, secret }: RunningPeer, channel: string) {
  const url = new URL(nodes[0]!.url);
  const protocol = protocolByName("pusher", { secret: secret! });
  const socket = new WebSocket(`${url.href}?${protocol.query}`, { perMessageDeflate: false });
  cleanUps.push(() => socket.terminate());
  const frames: string[] = [];
  let subscribed = 0;
  socket.on("message", (data: Buffer) => {
    const heard = protocol.classify(data);
    if (heard === "greeting") socket.send(protocol.subscribeGreeted!(channel, data, url).toString());
    else if (heard === "reply") subscribed++;
    else frames.push(data.toString());
  });
  await eventually(() => expect(subscribed).toBe(1));
  return {
    frames,
    publish: (content: string) => socket.send(protocol.publish(channel, content, false).toString()),
  };
}

/** What a subscriber gets of client events; their sender gets nothing. */
async function delivered(name: PeerName): Promise<readonly string[]> {
  const running = await start(name);
  const subscriber = await subscribe(running, "room");
  const publisher = await subscribe(running, "room");
  for (const content of CONTENTS) publisher.publish(content);
  await eventually(() => expect(subscriber.frames).toHaveLength(CONTENTS.length));
  subscriber.publish("back");
  await eventually(() => expect(publisher.frames).toHaveLength(1));
  expect(subscriber.frames).toHaveLength(CONTENTS.length);
  return subscriber.frames;
}

async function bench(
  env: NodeJS.ProcessEnv,
  ...argv: string[]
): Promise<{ result: BenchResult; stdout: string }> {
  const file = join(folder, "result.json");
  const flags = ["--quick", "--seconds", "0.5", "--json", file];
  const { stdout } = await run(process.execPath, ["--import", "tsx", "bench/main.ts", ...argv, ...flags], {
    cwd: root,
    env,
  });
  return { result: JSON.parse(readFileSync(file, "utf8")) as BenchResult, stdout };
}

/** What depends on how busy this machine is, and is not what is tested. */
const isLimit = (problem: string): boolean => /^the (generator was the limit|machine was busy)/.test(problem);

function expectClean({ runs, skipped }: BenchResult, scenarios: readonly string[]): void {
  expect(skipped.filter((reason) => !/no (api|events|presence)$|not as 2 nodes$/.test(reason))).toEqual([]);
  expect([...new Set(runs.map(({ scenario }) => scenario))]).toEqual(scenarios);
  for (const { scenario, variant, peer, problems, figures } of runs) {
    expect([scenario, variant, peer, problems.filter((problem) => !isLimit(problem))]).toEqual([
      ...[scenario, variant, peer, []],
    ]);
    expect(figures.length).toBeGreaterThan(0);
  }
}

const SCENARIOS = ["connect", "fanout", "ingest", "presence", "reconnect", "http", "idle"];
const TWO_NODES = ["bridge", "--nodes", "2", "--subscribers", "2", "--sustain-p99", "60000"];

it("the raw server sends the bytes that Starling sends", async () => {
  const [ours, raw] = [await delivered("starling-pusher"), await delivered("raw-pusher")];
  expect(raw).toEqual(ours);
});

it(
  "Starling and the raw server are measured in every scenario that they can, and lose nothing",
  { timeout: TIMEOUT_MS },
  async () => {
    const { result } = await bench(process.env, ...SCENARIOS, "--peers", "starling-pusher,raw-pusher");
    expectClean(result, SCENARIOS);
    const variants = result.runs
      .filter(({ peer }) => peer === "starling-pusher")
      .map(({ variant }) => variant);
    expect(variants).toContain("events, 5 connections");
    expect(variants).toContain("joins, 30 x 4");
  },
);

it("two nodes of Starling pass client events on", { timeout: TIMEOUT_MS }, async () => {
  const { result } = await bench(process.env, ...TWO_NODES, "--peers", "starling-pusher");
  expectClean(result, ["bridge"]);
});

it("without Soketi the others are measured, and how to get it is said", { timeout: TIMEOUT_MS }, async () => {
  const { SOKETI_PATH: _, ...env } = process.env;
  const { result, stdout } = await bench(env, "ingest", "--peers", "raw-pusher,soketi", "--no-pin");
  expect(result.runs.map(({ peer }) => peer)).toEqual(["raw-pusher"]);
  expect(result.skipped).toEqual([expect.stringMatching(/^soketi is not available: .*--soketi FOLDER/)]);
  // Before the run, with the plan, and after it.
  expect(stdout.split(result.skipped[0]!)).toHaveLength(3);
});

const given = describe.skipIf(soketi === undefined);
given(`Soketi${soketi === undefined ? ", not run: SOKETI_PATH names no folder" : ""}`, () => {
  it("relays client events, its data as it came", async () => {
    const frames = (await delivered("soketi")).map((frame) => JSON.parse(frame) as { data: unknown });
    expect(frames.map(({ data }) => data)).toEqual(CONTENTS.map((content) => ({ content })));
  });

  it("is measured in every scenario that it can, and loses nothing", { timeout: TIMEOUT_MS }, async () => {
    const { result, stdout } = await bench(process.env, ...SCENARIOS, "--peers", "soketi");
    expectClean(result, SCENARIOS);
    expect(result.versions["soketi"]).toMatch(/^1\.\d+\.\d+ \(Node v\d+/);
    expect(stdout).toContain(`soketi ${result.versions["soketi"]}`);
  });

  it("joins two nodes by Redis", { timeout: TIMEOUT_MS }, async () => {
    const { result } = await bench(process.env, ...TWO_NODES, "--peers", "soketi");
    expectClean(result, ["bridge"]);
  });

  it("is gone when stopped", async () => {
    const running = await start("soketi");
    const { pid } = running.nodes[0]!;
    await running.stop();
    await running.stop();
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });
});
