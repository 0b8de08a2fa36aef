import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { pack } from "msgpackr";

import type { ControlAnswer, ControlQuestion } from "../../src/core/control.js";
import { createMemoryControl } from "../../src/memory/control.js";
import { createRedisControl } from "../../src/redis/control/control.js";
import { eventually } from "../support/eventually.js";
import { createRedisNode } from "../support/redis-node.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { COMMANDS, describeControlContract, recordingHandlers } from "./control.js";

let redis: RedisServer;
let tests = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

function createControl(nodeId: string, prefix: string, nodes = [nodeId], askTimeoutMs = 2_000) {
  const { link, stats, log, lines } = createRedisNode({ nodeId, url: redis.url, prefix });
  const bus = createRedisControl({ link, askTimeoutMs, nodes: () => Promise.resolve(nodes), stats, log });
  return { bus, stats, lines, keys: link.keys };
}

describeControlContract("memory", () => createMemoryControl({ nodeId: "n1" }));
describeControlContract("redis", () => createControl("n1", `test${++tests}:`).bus);

describe("control on Redis", () => {
  const QUESTION = { kind: "channels", app: "main", prefix: "", limit: 10 } as const;

  async function startTwo(known: string[], askTimeoutMs?: number) {
    const prefix = `test${++tests}:`;
    const nodes = ["n1", "n2"].map((id) => ({
      ...createControl(id, prefix, known, askTimeoutMs),
      handlers: recordingHandlers(),
    }));
    for (const { bus, handlers } of nodes) await bus.start(handlers);
    onTestFinished(async () => {
      for (const { bus } of nodes) await bus.stop();
    });
    return nodes as [(typeof nodes)[number], (typeof nodes)[number]];
  }

  it("brings a command to every node", async () => {
    const [a, b] = await startTwo(["n1", "n2"]);
    for (const command of COMMANDS) await a.bus.command(command);
    await eventually(() => expect(b.handlers.commands).toEqual(COMMANDS));
    await eventually(() => expect(a.handlers.commands).toEqual(COMMANDS));
  });

  it("refuses a command that no node would obey, instead of losing it", async () => {
    const [a] = await startTwo(["n1", "n2"]);
    const reason = "x".repeat(124);
    const command = { kind: "disconnect", app: "main", target: { user: "42" }, reason } as const;
    await expect(a.bus.command(command)).rejects.toMatchObject({ code: "bad_request" });
  });

  it("gathers the answers of all nodes, asked by both at once", async () => {
    const [a, b] = await startTwo(["n1", "n2"]);
    for (const { answers, missing } of await Promise.all([a.bus.ask(QUESTION), b.bus.ask(QUESTION)])) {
      expect(answers.map(({ node }) => node).sort()).toEqual(["n1", "n2"]);
      expect(missing).toEqual([]);
    }
  });

  it("names the nodes that did not answer in time", async () => {
    const [a, b] = await startTwo(["n1", "n2", "dead"], 300);
    b.handlers.answer = () => {
      throw new Error("of the test");
    };
    const { answers, missing } = await a.bus.ask(QUESTION);
    expect(answers.map(({ node }) => node)).toEqual(["n1"]);
    expect([...missing].sort()).toEqual(["dead", "n2"]);
  });

  it("stop ends a question that still waits", async () => {
    const [a] = await startTwo(["n1", "dead"], 60_000);
    const asked = a.bus.ask(QUESTION);
    await eventually(() => expect(a.handlers.questions).toHaveLength(1));
    await a.bus.stop();
    expect((await asked).missing).toContain("dead");
  });

  it.each<[string, Buffer]>([
    ["no MessagePack", Buffer.from([0xc1])],
    ["another version", pack([2, "command", COMMANDS[0]])],
    ["an unknown kind", pack([1, "explode", {}])],
    ["a command without a target", pack([1, "command", { ...COMMANDS[0], target: {} }])],
    [
      "a command with two targets",
      pack([1, "command", { ...COMMANDS[0], target: { user: "a", connection: "b" } }]),
    ],
    ["a command of a kind that is unknown", pack([1, "command", { kind: "explode", all: true }, "more"])],
    ["a command without a kind", pack([1, "command", { app: "main" }])],
    ["a reason over 123 bytes", pack([1, "command", { ...COMMANDS[0], reason: "ü".repeat(62) }])],
    [
      "a question without an asker",
      pack([1, "ask", "id", 7, { kind: "connections", app: "main", user: "1" }]),
    ],
    [
      "an answer with counts that are no numbers",
      pack([1, "answer", "x", "n9", { kind: "channels", counts: { a: "1" } }]),
    ],
  ])("counts and skips %s", async (_, bytes) => {
    const [a] = await startTwo(["n1", "n2"]);
    await redis.client().publish(a.keys.control, bytes);
    await eventually(() => expect(a.stats.envelopesSkipped).toBe(1));
    await a.bus.command(COMMANDS[0]!);
    await eventually(() => expect(a.handlers.commands).toEqual([COMMANDS[0]]));
    expect(a.lines.filter(({ level }) => level === "error")).toEqual([]);
  });

  it("names a node at once that does not know the question", async () => {
    const [a, b] = await startTwo(["n1", "n2"], 60_000);
    const unknown = { kind: "hereafter" } as unknown as ControlQuestion;
    // As nodes of a later version ask each other.
    a.handlers.answer = () => ({ kind: "recorded" });
    expect(await a.bus.ask(unknown)).toEqual({ answers: [], missing: ["n1", "n2"] });
    expect(b.handlers.questions).toEqual([]);
    for (const { stats } of [a, b]) expect(stats.envelopesSkipped).toBe(0);
  });

  it("counts a node as missing that answers what is unknown here", async () => {
    const [a, b] = await startTwo(["n1", "n2"], 60_000);
    b.handlers.answer = () => ({ kind: "hereafter" }) as unknown as ControlAnswer;
    const { answers, missing } = await a.bus.ask(QUESTION);
    expect([answers.map(({ node }) => node), missing]).toEqual([["n1"], ["n2"]]);
  });

  it("ignores answers that nobody waits for", async () => {
    const [a] = await startTwo(["n1", "n2"]);
    const answer = pack([1, "answer", "never asked", "n9", { kind: "channels", counts: {} }]);
    expect(await redis.client().publish(a.keys.inbox("n1"), answer)).toBe(1);
    expect((await a.bus.ask(QUESTION)).answers.map(({ node }) => node)).not.toContain("n9");
    expect(a.stats.envelopesSkipped).toBe(0);
  });
});
