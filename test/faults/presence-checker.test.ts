import { describe, expect, it } from "vitest";
import { PresenceChecker, type PresenceFailure, type PresenceVerdict } from "./presence-checker.js";
import type { PresenceTimes } from "./presence-truth.js";
import type { PresenceEvidence } from "./presence-view.js";

const CHANNEL = "presence-a";
const TIMES: PresenceTimes = {
  graceMs: 3_000,
  joinWithinMs: 2_000,
  leaveWithinMs: 6_000,
  abruptLeaveWithinMs: 20_000,
  aftermathMs: 8_000,
};
const END_MS = 200_000;

/** Tabs are called by their user: `ann`, `ann.2`. Those of bob are of another node. */
const tab = (name: string, hearsOfItself = false): PresenceEvidence => ({
  ...{ kind: "presence-tab", tab: name, user: userOf(name), node: userOf(name) === "bob" ? "n2" : "n1" },
  hearsOfItself,
});
const userOf = (name: string): string => name.split(".")[0]!;
const sight = (name: string, atMs: number) =>
  ({ kind: "presence-sight", tab: name, channel: CHANNEL, atMs }) as const;
const asked = (name: string, atMs: number): PresenceEvidence => ({ ...sight(name, atMs), what: "asked" });
const whole = (name: string, atMs: number, ...users: string[]): PresenceEvidence => ({
  ...{ ...sight(name, atMs), what: "whole", users, count: users.length },
});
const told = (name: string, atMs: number, what: "added" | "removed", user: string): PresenceEvidence => ({
  ...sight(name, atMs),
  ...{ what, user },
});
const left = (name: string, atMs: number, abrupt = false): PresenceEvidence => ({
  ...sight(name, atMs),
  ...{ what: "left", abrupt },
});
const harm = (what: "kill" | "stall" | "cut" | "loss", startMs: number, endMs: number): PresenceEvidence => ({
  ...{ kind: "presence-harm", what, node: what === "loss" ? undefined : "n1", startMs, endMs },
});

/** Whatever the test is about: zoe comes and goes, and bob is told; bob stays. */
const BEFORE: readonly PresenceEvidence[] = [
  ...[tab("bob"), asked("bob", 1_000), whole("bob", 1_100, "bob")],
  ...[tab("zoe"), asked("zoe", 2_000), whole("zoe", 2_100, "bob", "zoe"), told("bob", 2_150, "added", "zoe")],
  ...[left("zoe", 3_000), told("bob", 6_500, "removed", "zoe")],
];

/** Comes at 10 s. */
const ANN: readonly PresenceEvidence[] = [
  ...[tab("ann"), asked("ann", 10_000), whole("ann", 10_100, "bob", "ann")],
  told("bob", 10_200, "added", "ann"),
];

function run(...evidence: PresenceEvidence[]): PresenceVerdict {
  const checker = new PresenceChecker(TIMES);
  for (const one of [...BEFORE, ...evidence]) checker.add(one);
  checker.add({ kind: "presence-end", atMs: END_MS });
  return checker.verdict();
}

function expectFailures(verdict: PresenceVerdict, failures: Partial<Record<PresenceFailure, number>>): void {
  const found = Object.fromEntries(Object.entries(verdict.failures).filter(([, count]) => count > 0));
  expect(found, verdict.details.join("\n")).toEqual(failures);
  expect(verdict.ok).toBe(Object.keys(failures).length === 0);
}

describe("the checker accepts", () => {
  it("who comes and who goes, told once each", () => {
    const verdict = run(...ANN, left("ann", 50_000), told("bob", 53_500, "removed", "ann"));
    expectFailures(verdict, {});
    expect(verdict).toMatchObject({ tabs: 3, wholes: 3, again: 0, added: 2, removed: 2 });
    expect(verdict.slowestMs).toEqual({ join: 100, leave: 3_500, abruptLeave: 0 });
  });

  it("nothing told of a reload within the grace, nor of a second tab", () => {
    const reload = [left("ann", 50_000), tab("ann.2"), asked("ann.2", 51_000)];
    const verdict = run(
      ...ANN,
      ...reload,
      ...[whole("ann.2", 51_200, "bob", "ann"), tab("ann.3"), asked("ann.3", 60_000)],
      ...[whole("ann.3", 60_100, "bob", "ann"), left("ann.2", 70_000)],
    );
    expectFailures(verdict, {});
    expect(verdict.returns).toBe(1);
  });

  it("a leave within 20 s of who was killed with its node", () => {
    expectFailures(run(...ANN, left("ann", 50_000, true), told("bob", 69_900, "removed", "ann")), {});
    // What it did last was not heard.
    expectFailures(
      run(...ANN, left("ann", 49_500), harm("kill", 50_000, 50_010), told("bob", 69_000, "removed", "ann")),
      {},
    );
  });

  it("that who went is back behind the grace, whether the leave was told or not yet", () => {
    const back = [tab("ann.2"), asked("ann.2", 53_400), whole("ann.2", 53_500, "bob", "ann")];
    expectFailures(run(...ANN, left("ann", 50_000), ...back), {});
    const both = [told("bob", 53_300, "removed", "ann"), ...back, told("bob", 53_600, "added", "ann")];
    expectFailures(run(...ANN, left("ann", 50_000), ...both), {});
  });

  it("one leave and one join of who is on a node that stands still", () => {
    const moved = [told("bob", 65_000, "removed", "ann"), told("bob", 75_000, "added", "ann")];
    expectFailures(run(...ANN, harm("stall", 50_000, 74_000), ...moved), {});
  });

  it("a whole list after the record was lost", () => {
    const lists = [whole("bob", 54_000, "bob", "ann"), whole("ann", 54_000, "bob", "ann")];
    expectFailures(run(...ANN, harm("loss", 50_000, 50_100), ...lists), {});
  });

  it("that a native client is told of itself", () => {
    const native = [tab("nat", true), asked("nat", 20_000), whole("nat", 20_100, "bob")];
    expectFailures(
      run(...native, told("nat", 20_150, "added", "nat"), told("bob", 20_150, "added", "nat")),
      {},
    );
  });
});

describe("the checker finds", () => {
  it("a join that was not told, or too late", () => {
    const untold = ANN.slice(0, 3);
    expectFailures(run(...untold), { missing: 2, counts: 1 });
    expectFailures(run(...untold, told("bob", 13_000, "added", "ann")), { missing: 1 });
  });

  it("a list without somebody who was there before the question", () => {
    const eve = [tab("eve"), asked("eve", 30_000), whole("eve", 30_100, "bob", "eve")];
    const others = [told("bob", 30_200, "added", "eve"), told("ann", 30_200, "added", "eve")];
    expectFailures(run(...ANN, ...eve, ...others, told("eve", 30_300, "added", "ann")), { missing: 1 });
  });

  it("a leave that was not told, or too late", () => {
    expectFailures(run(...ANN, left("ann", 50_000)), { ghosts: 2, counts: 1 });
    expectFailures(run(...ANN, left("ann", 50_000), told("bob", 57_000, "removed", "ann")), { ghosts: 1 });
    expectFailures(run(...ANN, left("ann", 50_000, true), told("bob", 71_000, "removed", "ann")), {
      ghosts: 1,
    });
  });

  it("somebody who never was there", () => {
    expectFailures(run(...ANN, told("bob", 20_000, "added", "nobody")), { ghosts: 2, counts: 1 });
  });

  it("who was added twice, or removed twice", () => {
    expectFailures(run(...ANN, told("bob", 20_000, "added", "ann")), { doubled: 1 });
    const gone = [left("ann", 50_000), told("bob", 53_500, "removed", "ann")];
    expectFailures(run(...ANN, ...gone, told("bob", 53_600, "removed", "ann")), { doubled: 1 });
  });

  it("a leave of who is there, or is back within the grace", () => {
    const flapped = [told("bob", 20_000, "removed", "ann"), told("bob", 20_100, "added", "ann")];
    expectFailures(run(...ANN, ...flapped), { spurious: 1 });
    const back = [
      left("ann", 50_000),
      tab("ann.2"),
      asked("ann.2", 51_000),
      whole("ann.2", 51_100, "bob", "ann"),
    ];
    const wrong = [told("bob", 53_000, "removed", "ann"), told("bob", 53_100, "added", "ann")];
    expectFailures(run(...ANN, ...back, ...wrong), { spurious: 1 });
  });

  it("a leave that was told before the grace was over", () => {
    expectFailures(run(...ANN, left("ann", 50_000), told("bob", 52_900, "removed", "ann")), { spurious: 1 });
  });

  it("a client of Pusher that is told of itself, after a harm as well", () => {
    const itself = [told("ann", 20_000, "removed", "ann"), told("ann", 20_100, "added", "ann")];
    expectFailures(run(...ANN, ...itself), { toldItself: 2, spurious: 1 });
    const moved = [told("bob", 65_000, "removed", "ann"), told("bob", 75_000, "added", "ann")];
    const own = [told("ann", 75_000, "removed", "ann"), told("ann", 75_100, "added", "ann")];
    expectFailures(run(...ANN, harm("stall", 50_000, 74_000), ...moved, ...own), { toldItself: 2 });
  });

  it("a count that is not that of the list, or in the end not that of those who are there", () => {
    const wrong = { ...sight("eve", 30_100), what: "whole", users: ["bob", "eve"], count: 3 } as const;
    const verdict = run(tab("eve"), asked("eve", 30_000), wrong, told("bob", 30_200, "added", "eve"));
    expectFailures(verdict, { counts: 2 });
  });

  it("what a user shows and is not so, but shortly after the record was lost", () => {
    const odd = (atMs: number): PresenceEvidence => ({
      ...sight("bob", atMs),
      ...{ what: "odd", user: "ann", shown: "null" },
    });
    expectFailures(run(...ANN, odd(20_000)), { infos: 1 });
    const lists = [whole("bob", 54_000, "bob", "ann"), whole("ann", 54_000, "bob", "ann")];
    expectFailures(run(...ANN, harm("loss", 50_000, 50_100), odd(51_000), ...lists), {});
  });

  it("a node that stood still and of whose users nothing was told", () => {
    expectFailures(run(...ANN, harm("stall", 50_000, 74_000)), { stallsUntold: 1 });
  });

  it("a record that was lost without a list told, and a list told then that is not whole", () => {
    expectFailures(run(...ANN, harm("loss", 50_000, 50_100)), { lossesUntold: 2 });
    // Of the node alone that was cut off.
    expectFailures(run(...ANN, harm("cut", 50_000, 50_100)), { lossesUntold: 1 });
    const lists = [whole("bob", 54_000, "bob"), whole("ann", 54_000, "bob", "ann")];
    expectFailures(run(...ANN, harm("loss", 50_000, 50_100), ...lists, told("bob", 55_000, "added", "ann")), {
      missing: 1,
    });
  });

  it("a run in which nothing happened", () => {
    const checker = new PresenceChecker(TIMES);
    for (const one of BEFORE.slice(0, 3)) checker.add(one);
    expect(checker.verdict().ok).toBe(false);
  });
});
