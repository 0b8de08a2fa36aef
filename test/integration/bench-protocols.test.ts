/** The generator against servers of other protocols, strict ones. Nothing here says how fast anything is. */

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { LoadShare } from "../../bench/load/load-share.js";
import type { LoadPlan, OpenedReport, SettledReport, Traffic } from "../../bench/load/messages.js";
import type { BenchResult } from "../../bench/types.js";
import { eventually } from "../support/eventually.js";
import { root } from "../support/program.js";
import {
  startStrictCentrifugo,
  type StrictCentrifugo,
  type StrictCentrifugoOptions,
} from "../support/strict-centrifugo.js";
import {
  APP,
  SILENT_ROUNDS_MAX,
  startStrictPusher,
  type StrictPusher,
  type StrictPusherOptions,
} from "../support/strict-pusher.js";

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;
const MESSAGES = 200;
const CLEAN = { lost: 0, late: 0, duplicated: 0, reordered: 0, misdelivered: 0, closed: 0, errors: [] };

let folder: string;
const cleanUps: (() => Promise<void> | void)[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "starling-bench-protocols-"));
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function centrifugo(options?: StrictCentrifugoOptions): Promise<StrictCentrifugo> {
  const server = await startStrictCentrifugo(options);
  cleanUps.push(() => server.stop());
  return server;
}

async function pusher(options?: StrictPusherOptions): Promise<StrictPusher> {
  const server = await startStrictPusher(options);
  cleanUps.push(() => server.stop());
  return server;
}

interface Loaded {
  readonly opened: OpenedReport;
  readonly settled: SettledReport;
  readonly sent: number;
  readonly deliveries: number;
  readonly replies: number;
}

function shareOf(url: string, shape: Partial<LoadPlan>): LoadShare {
  const share = new LoadShare(
    {
      protocol: "starling-json",
      subscriberUrls: [url],
      publisherUrls: [url],
      channelPrefix: "test-",
      channels: 1,
      subscribersPerChannel: 1,
      publishers: 1,
      connectRate: 0,
      connecting: 64,
      payloadBytes: 100,
      acknowledged: false,
      sources: 1,
      headers: {},
      ...shape,
    },
    0,
    1,
  );
  cleanUps.push(() => share.close());
  return share;
}

/** What was sent since it began: the first messages go out before the counters start. */
const total = (sentByStream: readonly (readonly [number, number])[]): number =>
  sentByStream.reduce((sum, [, sent]) => sum + sent, 0);

/** Sends until enough was sent, and waits for all of it. */
async function load(url: string, shape: Partial<LoadPlan>, traffic: Traffic): Promise<Loaded> {
  const share = shareOf(url, shape);
  const opened = await share.open();
  share.start(traffic);
  await eventually(() => expect(share.counters().sent).toBeGreaterThanOrEqual(MESSAGES));
  const { sentByStream } = share.stop();
  const settled = await share.settle(new Map(sentByStream), 5_000, 20_000);
  return { opened, settled, ...share.counters(), sent: total(sentByStream) };
}

const WINDOW: Traffic = { kind: "window", messages: 16 };

describe("the generator on Centrifugo", () => {
  const shape = { protocol: "centrifugo", channels: 3, subscribersPerChannel: 4, publishers: 6 } as const;

  it("counts each of the messages that share a frame, and no reply that it did not ask for", async () => {
    const server = await centrifugo();
    const { opened, settled, sent, deliveries, replies } = await load(server.url, shape, WINDOW);
    expect(opened).toMatchObject({ connections: 12, failed: 0 });
    expect(settled).toMatchObject(CLEAN);
    expect(server.mostInOneFrame).toBeGreaterThan(1);
    expect(deliveries).toBe(4 * sent);
    expect(server.published).toBe(sent);
    expect(replies).toBe(0);
  });

  it("counts every acknowledgement where they are asked for, several to a frame", async () => {
    const server = await centrifugo();
    const acknowledged: Traffic = { kind: "acknowledged", commands: 8, command: "publish" };
    const share = shareOf(server.url, { ...shape, acknowledged: true });
    await share.open();
    share.start(acknowledged);
    await eventually(() => expect(share.counters().sent).toBeGreaterThanOrEqual(MESSAGES));
    const sent = total(share.stop().sentByStream);
    await eventually(() => expect(share.counters().replies).toBe(sent));
    expect(server.published).toBe(sent);
    expect(server.closed).toEqual([]);
  });

  it("answers pings, and leaves alone those of a server that wants no answer", async () => {
    for (const pong of [true, false]) {
      const server = await centrifugo({ pong });
      const share = shareOf(server.url, { protocol: "centrifugo", subscribersPerChannel: 5, publishers: 0 });
      await share.open();
      await eventually(() => expect(server.pings).toBeGreaterThan(10));
      if (pong) await eventually(() => expect(server.pongs).toBeGreaterThan(10));
      else expect(server.pongs).toBe(0);
      expect(server.closed).toEqual([]);
      expect(share.counters().live).toBe(5);
    }
  });

  it("counts what another generator publishes in its channels, and stays", async () => {
    const server = await centrifugo();
    const share = shareOf(server.url, { protocol: "centrifugo" });
    await share.open();
    const other = shareOf(server.url, { protocol: "centrifugo", publishers: 3 });
    await other.open();
    other.start({ kind: "rate", messagesPerSecond: 1000 });
    await eventually(() => expect(share.counters().deliveries).toBeGreaterThan(30));
    const { misdelivered, errors } = await share.settle(new Map(), 1000, 10_000);
    expect(misdelivered).toBeGreaterThanOrEqual(20);
    expect(errors).toEqual([]);
    expect(share.counters().live).toBe(2);
  });

  it("says late of what was still to come when its patience ended, lost of what does not come", async () => {
    const server = await centrifugo();
    const share = shareOf(server.url, { protocol: "centrifugo" });
    await share.open();
    share.start({ kind: "rate", messagesPerSecond: 1000 });
    const more = new Map([[0, 1_000_000]]);
    const early = await share.settle(more, 20_000, 200);
    expect(early.lost).toBe(0);
    expect(early.late).toBeGreaterThan(990_000);
    share.stop();
    const { lost, late } = await share.settle(more, 200, 60_000);
    expect(lost).toBe(1_000_000 - share.counters().deliveries);
    expect(late).toBe(0);
  });

  it("presents its token, and tells that another was refused", async () => {
    const server = await centrifugo({ token: "right" });
    const good = await shareOf(server.url, { ...shape, token: "right" }).open();
    expect(good).toMatchObject({ connections: 12, failed: 0 });
    const bad = await shareOf(server.url, { ...shape, token: "wrong" }).open();
    expect(bad).toMatchObject({
      connections: 0,
      errors: ["closed by the server: 3500 invalid token (18 times)"],
    });
  });
});

describe("the generator on a Pusher server", () => {
  const shape = { protocol: "pusher", channels: 3, subscribersPerChannel: 4, publishers: 6 } as const;

  it("signs its way into private channels and publishes client events there", async () => {
    const server = await pusher();
    const { opened, settled, sent, deliveries } = await load(
      server.url,
      { ...shape, secret: APP.secret },
      WINDOW,
    );
    expect(opened).toMatchObject({ connections: 12, failed: 0 });
    expect(settled).toMatchObject(CLEAN);
    expect(deliveries).toBe(4 * sent);
    expect([...server.channels].sort()).toEqual([
      "private-test-00000",
      "private-test-00001",
      "private-test-00002",
    ]);
  });

  it("subscribes to public channels without a secret, and stays where only it can break the silence", async () => {
    const server = await pusher({ pings: false });
    const share = shareOf(server.url, { ...shape, publishers: 0 });
    expect(await share.open()).toMatchObject({ connections: 12, failed: 0, errors: [] });
    expect([...server.channels].sort()).toEqual(["test-00000", "test-00001", "test-00002"]);
    // Longer than the server waits for a word.
    await eventually(() => expect(server.rounds).toBeGreaterThan(12 * (SILENT_ROUNDS_MAX + 5)));
    expect(share.counters().live).toBe(12);
    expect(server.closed).toEqual([]);
  });

  it("answers pings", async () => {
    const server = await pusher();
    await shareOf(server.url, { ...shape, publishers: 0 }).open();
    await eventually(() => expect(server.pongs).toBeGreaterThan(12));
  });

  it("tells of a wrong secret, of a key that no app has, and of refused events what the server said", async () => {
    const server = await pusher({ clientEventsMax: 10 });
    const wrong = await shareOf(server.url, { ...shape, secret: "wrong" }).open();
    expect(wrong).toMatchObject({
      connections: 0,
      errors: [
        "pusher:subscription_error 401 The connection is unauthorized. (is --secret that of the app?) (18 times)",
      ],
    });
    const unknown = await shareOf(server.url.replace(APP.key, "other"), { ...shape, publishers: 0 }).open();
    expect(unknown).toMatchObject({
      connections: 0,
      errors: ["pusher:error 4001 no app has the key other (12 times)"],
    });
    const { settled } = await load(
      server.url,
      { protocol: "pusher", secret: APP.secret },
      { kind: "rate", messagesPerSecond: 1000 },
    );
    expect(settled.lost).toBeGreaterThan(0);
    expect(settled.errors).toEqual([expect.stringMatching(/^pusher:error 4301 too many client events/)]);
  });
});

describe("joins of connections that are there", () => {
  const shape = {
    ...{ channels: 3, subscribersPerChannel: 4, publishers: 0 },
    ...{ channelPrefix: "presence:test-", joinsLater: true as const },
  };

  it("meet the same others in channel after channel", async () => {
    const server = await pusher();
    const share = shareOf(server.url, { ...shape, protocol: "pusher", secret: APP.secret });
    expect(await share.open()).toMatchObject({ connections: 12, failed: 0 });
    expect(server.channels).toEqual([]);
    expect(await share.join({ first: 0, count: 1 })).toMatchObject({ joined: 12, refused: 0, errors: [] });
    expect(await share.join({ first: 1, count: 2 })).toMatchObject({ joined: 24, refused: 0, errors: [] });
    expect(server.channels).toHaveLength(9);
    const together = [0, 1, 2].map((number) => server.users.get(`presence-test-00001-${number}`));
    expect(new Set(together[0]).size).toBe(4);
    expect(together).toEqual([together[0], together[0], together[0]]);
  });

  it("are counted over a protocol whose commands do not depend on the connection", async () => {
    const server = await centrifugo();
    const share = shareOf(server.url, { ...shape, protocol: "centrifugo" });
    await share.open();
    expect(await share.join({ first: 0, count: 3 })).toMatchObject({ joined: 36, refused: 0, errors: [] });
    expect(server.closed).toEqual([]);
  });

  it("count who is refused", async () => {
    const server = await pusher();
    const share = shareOf(server.url, {
      ...{ protocol: "pusher", secret: "wrong", channelPrefix: "presence:test-" },
      ...{ subscribersPerChannel: 3, publishers: 0, joinsLater: true },
    });
    await share.open();
    expect(await share.join({ first: 0, count: 2 })).toMatchObject({
      ...{ joined: 0, refused: 6 },
      errors: [expect.stringMatching(/^pusher:subscription_error 401 .* \(6 times\)$/)],
    });
  });
});

describe("the bench attached to", () => {
  async function bench(...argv: string[]): Promise<{ result: BenchResult; stdout: string; json: string }> {
    const file = join(folder, "result.json");
    const fast = ["--quick", "--seconds", "0.5", "--no-pin", "--json", file];
    const { stdout } = await run(process.execPath, ["--import", "tsx", "bench/main.ts", ...argv, ...fast], {
      cwd: root,
    });
    const json = readFileSync(file, "utf8");
    return { result: JSON.parse(json) as BenchResult, stdout, json };
  }
  /** What depends on how busy this machine is, and is not what is tested. */
  const isLimit = (problem: string): boolean =>
    /^the (generator was the limit|machine was busy)/.test(problem);

  function expectClean({ runs, skipped }: BenchResult, scenarios: readonly string[]): void {
    expect(skipped).toEqual([]);
    expect(runs.map(({ scenario }) => scenario)).toEqual(scenarios);
    for (const { problems } of runs) expect(problems.filter((problem) => !isLimit(problem))).toEqual([]);
  }

  it("Centrifugo runs its scenarios by URL", { timeout: TIMEOUT_MS }, async () => {
    const server = await centrifugo({ token: "right" });
    const { result, json } = await bench(
      ...["fanout", "ingest", "--attach", server.url, "--protocol", "centrifugo", "--token", "right"],
    );
    expectClean(result, ["fanout", "fanout", "fanout", "fanout", "ingest"]);
    expect(result.runs[0]?.protocol).toBe("centrifugo");
    expect(server.closed).toEqual([]);
    expect(json).not.toContain("right");
  });

  it(
    "Centrifugo measures it beside servers that it starts, turn by turn",
    { timeout: TIMEOUT_MS },
    async () => {
      const server = await centrifugo({ token: "right" });
      const { result, stdout } = await bench(
        ...["ingest", "--peers", "raw", "--runs", "2", "--attach", server.url, "--protocol", "centrifugo"],
        ...["--attach-as", "Centrifugo", "--token", "right"],
      );
      expectClean(result, Array<string>(4).fill("ingest"));
      expect(result.runs.map(({ peer, protocol }) => `${peer} ${protocol}`)).toEqual([
        ...["raw starling-json", "Centrifugo centrifugo", "raw starling-json", "Centrifugo centrifugo"],
      ]);
      const row = result.summary.find(({ figure }) => figure.name === "deliveriesPerSecond");
      expect(row?.peers.map(({ peer, ratio }) => [peer, ratio === undefined])).toEqual([
        ["raw", true],
        ["Centrifugo", false],
      ]);
      expect(stdout).toMatch(/ingest, 1 x 1 .* raw, Centrifugo\n/);
    },
  );

  it("a Pusher server runs its scenarios by URL, and shows no secret", { timeout: TIMEOUT_MS }, async () => {
    const server = await pusher({ closesAfterAnswers: true });
    const { result, stdout, json } = await bench(
      ...["fanout", "ingest", "presence", "http", "--attach", server.url, "--api-url", server.apiUrl],
      ...["--protocol", "pusher", "--secret", APP.secret],
    );
    expectClean(result, [...Array<string>(4).fill("fanout"), "ingest", "presence", "presence", "http"]);
    expect(server.closed).toEqual([]);
    expect(new Set(server.events).size).toBeGreaterThan(1);
    expect(stdout).toContain("--secret ...");
    expect(stdout + json).not.toContain(APP.secret);
  });
});
