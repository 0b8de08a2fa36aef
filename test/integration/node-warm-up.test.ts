/** A node runs what its first clients will run before it says that it is ready, and nothing of that shows. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { configSchema, defaultConfig } from "../../src/config.js";
import { silentLog, type Log } from "../../src/core/log.js";
import type { Conversation, Protocol } from "../../src/core/protocol.js";
import type * as WarmUp from "../../src/warm-up.js";
import { edgeOptions } from "../../src/node-parts.js";
import { starlingProtocol } from "../../src/protocols/starling/protocol.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { cleanUp, startTestNode } from "../support/nodes.js";

/** The native protocol, and how many frames it was given by now. */
function counting(conversations = starlingProtocol.conversations): {
  protocol: Protocol;
  frames: () => number;
} {
  let frames = 0;
  const protocol: Protocol = {
    ...starlingProtocol,
    conversations: conversations!,
    frame(connection, bytes, binary) {
      frames++;
      return starlingProtocol.frame(connection, bytes, binary);
    },
  };
  return { protocol, frames: () => frames };
}

describe("the warm-up", () => {
  /** The module knows whether this process is warm: each test has one that is cold. */
  let warmUp: typeof WarmUp.warmUp;
  beforeEach(async () => {
    vi.resetModules();
    ({ warmUp } = await import("../../src/warm-up.js"));
  });

  async function run(protocol: Protocol, limitMs = 500, log: Log = silentLog): Promise<void> {
    const edge = { ...edgeOptions(configSchema.parse(defaultConfig)), repair: true };
    await warmUp({ protocols: [protocol], edge, limitMs, log });
  }

  it("runs each conversation of a protocol, once in a process", async () => {
    const { protocol, frames } = counting();
    await run(protocol);
    const ran = frames();
    expect(ran).toBeGreaterThan(2 * starlingProtocol.framings.length);
    await run(protocol);
    expect(frames()).toBe(ran);
  });

  it("is not run where its time is 0", async () => {
    const { protocol, frames } = counting();
    await run(protocol, 0);
    expect(frames()).toBe(0);
  });

  it("ends where a conversation does not", async () => {
    const endless: Conversation = { path: "/", binary: false, frames: [], answers: 1_000 };
    const refused: Conversation = { path: "/?app=nobody", binary: false, frames: [], answers: 1 };
    await run(counting([endless, refused]).protocol, 100);
  });

  it("that fails is told in the debug log, and no more", async () => {
    const told: string[] = [];
    const log: Log = { ...silentLog, debug: (_fields, message) => void told.push(message) };
    const broken: Protocol = {
      ...starlingProtocol,
      get framings(): never {
        throw new Error("from a test");
      },
    };
    await run(broken, 500, log);
    expect(told).toEqual(["the warm-up was left out"]);
  });
});

describe("a node that warmed up", () => {
  let redis: RedisServer;
  beforeEach(async () => void (redis = await startRedis()));
  afterEach(async () => {
    await cleanUp();
    await redis.stop();
  });

  it("shows nothing of it in metrics and Redis, and serves as any", async () => {
    const { protocol, frames } = counting();
    const node = await startTestNode({ redis: redis.url, warmUpMs: 500 }, { protocols: [protocol] });
    expect(frames()).toBeGreaterThan(0);
    const metrics = await node.metrics();
    const shown = [...metrics].filter(
      ([series, value]) =>
        value !== 0 &&
        /^starling_(connect|disconnect|messages|bytes|publications|subscriptions|reject)/.test(series),
    );
    expect(shown).toEqual([]);
    const keys = await redis.client().keys("*");
    expect(keys.filter((key) => key.includes("warm-up"))).toEqual([]);
    const client = await node.client();
    expect(await client.ask("subscribe", { channel: "room" })).toMatchObject({ type: "reply" });
    await expect.poll(() => node.totals()).toMatchObject({ nodes: 1, connections: 1 });
  });
});
