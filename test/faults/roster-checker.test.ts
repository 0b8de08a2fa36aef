import { describe, expect, it } from "vitest";
import { judge, type Evidence, type Verdict } from "./checker.js";
import type { RosterRecord } from "./roster-checker.js";

const OPTIONS = { historySize: 10, historyTtlMs: 60_000 };
const CHANNEL = "chat:a";

let clockMs = 1_000;
const tick = (): number => (clockMs += 100);

/** A client that was there from the beginning to the end, and what makes a run worth judging. */
function whole(client: string, user: string | undefined, connected = true): Evidence[] {
  const position = { offset: 0, epoch: "E" };
  return [
    { kind: "client", client, channels: [CHANNEL], user },
    { kind: "position", client, channel: CHANNEL, atMs: tick(), position, missed: 0 },
    {
      kind: "message",
      client,
      channel: CHANNEL,
      atMs: tick(),
      id: "p1",
      position: { offset: 1, epoch: "E" },
    },
    { kind: "end", client, connected, connection: `of-${client}` },
  ];
}
const published = (): Evidence => ({
  ...{ kind: "publication", id: "p1", channel: CHANNEL, sentAtMs: 1, settledAtMs: 2, outcome: "acked" },
  position: { offset: 1, epoch: "E" },
});
const told = (what: RosterRecord["what"], ...persons: string[]): Evidence => ({
  ...{ kind: "roster", client: "c1", channel: CHANNEL, atMs: tick(), what, persons },
});
const fault = (name: string): Evidence => ({
  ...{ kind: "fault", name, startMs: tick(), endMs: tick(), losesData: false },
});

const run = (...evidence: Evidence[]): Verdict =>
  judge(
    [published(), ...whole("c1", "ann"), ...whole("c2", "bob"), ...whole("c3", undefined), ...evidence],
    OPTIONS,
  );

function expectFailures(verdict: Verdict, failures: Partial<Verdict["failures"]>): void {
  const found = Object.fromEntries(Object.entries(verdict.failures).filter(([, count]) => count > 0));
  expect(found, verdict.details.join("\n")).toEqual(failures);
  expect(verdict.ok).toBe(Object.keys(failures).length === 0);
}

describe("the checker accepts a roster", () => {
  it("that a snapshot gave, and one that joins and leaves made of it", () => {
    const verdict = run(told("snapshot", "=ann", "=bob", "-of-c3"));
    expectFailures(verdict, {});
    expect(verdict.rosters).toBe(1);
    expectFailures(
      run(told("snapshot", "=ann", "=x"), told("leave", "=x"), told("join", "=bob", "-of-c3")),
      {},
    );
  });

  it("that was wrong in between and replaced", () => {
    expectFailures(
      run(
        told("snapshot", "=x"),
        told("unknown"),
        told("join", "=x"),
        told("snapshot", "=ann", "=bob", "-of-c3"),
      ),
      {},
    );
  });

  it("that was surprised after a fault that takes events", () => {
    const surprised = [told("join", "=ann"), told("leave", "=gone")];
    expectFailures(
      run(told("snapshot", "=ann", "=bob", "-of-c3"), fault("deaf n1"), ...surprised.map(later)),
      {},
    );
  });

  it("of a client that is not connected in the end, whatever is in it", () => {
    const gone: Evidence = { kind: "end", client: "c1", connected: false };
    expectFailures(run(told("snapshot", "=x"), gone), {});
  });
});

describe("the checker judges what members show", () => {
  const showing = (client: string, info: string | undefined): Evidence => ({
    ...{ kind: "end", client, connected: true, connection: `of-${client}`, info },
  });
  const ALL = ["=ann", "=bob", "-of-c3"];
  const infos = (what: RosterRecord["what"], shown: Record<string, string | null>): Evidence => ({
    ...{ kind: "roster", client: "c1", channel: CHANNEL, atMs: tick(), what },
    persons: Object.keys(shown),
    infos: Object.values(shown),
  });
  const shown = (...evidence: Evidence[]): Verdict =>
    run(showing("c1", '{"a":1}'), showing("c2", "2"), showing("c3", undefined), ...evidence);

  it("and accepts what each showed in the end, by a snapshot, a join or an update", () => {
    const right = { "=ann": '{"a":1}', "=bob": "2", "-of-c3": null };
    expectFailures(shown(infos("snapshot", right)), {});
    expectFailures(
      shown(
        infos("snapshot", { "=ann": "old", "-of-c3": "old" }),
        infos("update", { "=ann": '{"a":1}', "-of-c3": null, "=nobody": "1" }),
        infos("join", { "=bob": "2" }),
      ),
      {},
    );
    expectFailures(shown(told("snapshot", ...ALL)), {});
  });

  it("and takes any of those that the clients of one user showed", () => {
    const other = whole("c4", "ann");
    for (const info of ['{"a":1}', "4"]) {
      const snapshot = infos("snapshot", { "=ann": info, "=bob": "2", "-of-c3": null });
      expectFailures(shown(...other, showing("c4", "4"), snapshot), {});
    }
  });

  it("and finds one that is another, is missing, or is there though nothing was shown", () => {
    for (const wrong of [{ "=ann": '{"a":2}' }, { "=ann": null }, { "-of-c3": "3" }]) {
      const right = { "=ann": '{"a":1}', "=bob": "2", "-of-c3": null };
      const verdict = shown(infos("snapshot", { ...right, ...wrong }));
      expectFailures(verdict, { rosterInfos: 1 });
    }
    const stale = shown(infos("snapshot", { "=ann": '{"a":1}', "=bob": "1", "-of-c3": null }));
    expect(stale.details.join()).toContain("c1 in chat:a has =bob show 1, not 2");
  });
});

describe("the checker finds", () => {
  const all = ["=ann", "=bob", "-of-c3"];

  it("a member that is missing in the end", () => {
    expectFailures(run(told("snapshot", "=ann")), { rosterAbsent: 2 });
    expectFailures(run(told("snapshot", ...all), told("leave", "=bob")), { rosterAbsent: 1 });
  });

  it("a roster that nobody was told", () => {
    const verdict = run(told("snapshot", ...all), told("unknown"));
    expectFailures(verdict, { rosterAbsent: 3 });
    expect(verdict.details.join()).toContain("c1 knows nobody in chat:a and lacks =ann, =bob, -of-c3");
  });

  it("a ghost", () => {
    expectFailures(run(told("snapshot", ...all, "=gone")), { rosterGhosts: 1 });
    expectFailures(run(told("snapshot", ...all), told("join", "-gone")), { rosterGhosts: 1 });
  });

  it("a doubled join, also while nodes are killed", () => {
    expectFailures(run(told("snapshot", ...all), told("join", "=bob")), { doubledJoins: 1 });
    expectFailures(run(told("snapshot", ...all), fault("kill n1"), later(told("join", "=bob"))), {
      doubledJoins: 1,
    });
  });

  it("a leave of somebody who was never there", () => {
    expectFailures(run(told("snapshot", ...all), told("leave", "=zoe")), { strayLeaves: 1 });
  });

  it("a surprise before the fault that would excuse it, and one long after", () => {
    expectFailures(run(told("snapshot", ...all), told("join", "=bob"), later(fault("deaf n1"))), {
      doubledJoins: 1,
    });
    const early = fault("deaf n1");
    clockMs += 60_000;
    expectFailures(run(early, told("snapshot", ...all), told("join", "=bob")), { doubledJoins: 1 });
  });
});

/** Evidence is made in the order in which it is written: this one happens after what stands before it. */
function later(evidence: Evidence): Evidence {
  return evidence.kind === "fault"
    ? { ...evidence, startMs: tick(), endMs: tick() }
    : ({ ...evidence, atMs: tick() } as Evidence);
}
