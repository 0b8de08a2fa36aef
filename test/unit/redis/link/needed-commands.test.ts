/** The lists of src/redis/link/needed-commands.ts against what the scripts and the code beside them call. */

import { readFileSync, readdirSync } from "node:fs";
import { Redis } from "ioredis";
import { describe, expect, it } from "vitest";

import { NEEDED_BY, neededCalls } from "../../../../src/redis/link/needed-commands.js";

type Need = keyof typeof NEEDED_BY;

const REDIS = new URL("../../../../src/redis/", import.meta.url);
const LUA = new URL("lua/", REDIS);
/** Not on keys: every node is allowed them, and the bus's by its kind. EXEC is of a pipeline that is no transaction. */
const KEYLESS = new Set([
  "EVAL",
  "EVALSHA",
  "EXEC",
  "INFO",
  "TIME",
  "SCRIPT",
  "CLUSTER",
  "PUBLISH",
  "SUBSCRIBE",
  "SPUBLISH",
  "SSUBSCRIBE",
]);

const client = new Redis({ lazyConnect: true });
const BUILT_IN = new Set(client.getBuiltinCommands().map((name) => name.toUpperCase()));

const scripts = readdirSync(LUA).filter((name) => name !== "acl-check.lua");
const sources = readdirSync(REDIS, { recursive: true, encoding: "utf8" }).filter((path) =>
  path.endsWith(".ts"),
);

/** history-append.lua and history/history.ts are of history. */
function needOf(path: string): Need {
  const [of = ""] = path.split(/[-/]/);
  return of === "history" || of === "presence" ? of : "node";
}

/** Also of a function that hands its arguments on. What is published by is a variable. */
function calledByScript(name: string): string[] {
  const lua = readFileSync(new URL(name, LUA), "utf8").replace(/--.*/g, "");
  return [...lua.matchAll(/\(\s*"([A-Z]{2,})"/g)].map(([, command]) => command!);
}

function calledBySource(path: string): string[] {
  const text = readFileSync(new URL(path, REDIS), "utf8").replace(/\/\*[^]*?\*\/|\/\/.*/g, "");
  const calls = text.matchAll(/\b(?:redis|publisher|master|server|client|cluster|pipeline)\s*\.([a-z]+)\(/g);
  return [...calls].map(([, method]) => method!.toUpperCase()).filter((name) => BUILT_IN.has(name));
}

const called: Record<Need, Set<string>> = { node: new Set(), history: new Set(), presence: new Set() };
for (const name of scripts) calledByScript(name).forEach((command) => called[needOf(name)].add(command));
for (const path of sources) calledBySource(path).forEach((command) => called[needOf(path)].add(command));

describe("the commands that a node asks for", () => {
  it.each(scripts)("are those of %s", (name) => {
    const listed: readonly string[] = NEEDED_BY[needOf(name)];
    const missing = calledByScript(name).filter(
      (command) => !listed.includes(command) && !KEYLESS.has(command),
    );
    expect(missing).toEqual([]);
  });

  it.each(Object.keys(NEEDED_BY) as Need[])("for %s are those that its scripts and its code call", (need) => {
    const onKeys = [...called[need]].filter((command) => !KEYLESS.has(command));
    expect([...NEEDED_BY[need]].sort()).toEqual(onKeys.sort());
  });

  it("are the more, the more is used", () => {
    const count = (use: Partial<Parameters<typeof neededCalls>[0]>): number =>
      neededCalls({ history: false, presence: false, ingestChannel: undefined, ...use }, "ws:", false).length;
    expect(count({})).toBeLessThan(count({ history: true }));
    expect(count({})).toBeLessThan(count({ presence: true }));
    expect(count({ ingestChannel: "orders" })).toBe(count({}) + 1);
  });
});
