import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  Checker,
  describeVerdict,
  judge,
  type Evidence,
  type Failure,
  type PublicationRecord,
  type Verdict,
} from "./checker.js";

const OPTIONS = { historySize: 10, historyTtlMs: 60_000 };
const CHANNEL = "chat:a";

let clockMs = 1_000;
const tick = (): number => (clockMs += 100);

const position = (offset: number, epoch = "E") => ({ offset, epoch });
const client = (name = "c1", channels = [CHANNEL]): Evidence => ({ kind: "client", client: name, channels });
const acked = (id: string, offset: number, epoch = "E", more: Partial<PublicationRecord> = {}): Evidence => ({
  kind: "publication",
  id,
  channel: CHANNEL,
  sentAtMs: tick(),
  settledAtMs: tick(),
  outcome: "acked",
  position: position(offset, epoch),
  ...more,
});
const failed = (id: string, outcome: "maybe" | "refused"): Evidence => ({
  kind: "publication",
  id,
  channel: CHANNEL,
  sentAtMs: tick(),
  settledAtMs: tick(),
  outcome,
});
const message = (id: string, offset: number, epoch = "E", name = "c1", channel = CHANNEL): Evidence => ({
  kind: "message",
  client: name,
  channel,
  atMs: tick(),
  id,
  position: position(offset, epoch),
});
const subscribed = (
  offset: number,
  epoch = "E",
  { missed = 0, recovered }: { missed?: number; recovered?: boolean } = {},
): Evidence => ({
  kind: "position",
  client: "c1",
  channel: CHANNEL,
  atMs: tick(),
  position: position(offset, epoch),
  missed,
  recovered,
});
const gap = (recovered: boolean, offset: number, epoch = "E", missed = 0): Evidence => ({
  kind: "gap",
  client: "c1",
  channel: CHANNEL,
  atMs: tick(),
  recovered,
  position: position(offset, epoch),
  missed,
});
const end = (connected = true, connection?: string): Evidence => ({
  kind: "end",
  client: "c1",
  connected,
  connection,
});
const fault = (losesData: boolean): Evidence => ({
  kind: "fault",
  name: losesData ? "flushall" : "cut",
  startMs: tick(),
  endMs: tick(),
  losesData,
});

const three = () => [acked("p1", 1), acked("p2", 2), acked("p3", 3)];
const run = (...evidence: (Evidence | Evidence[])[]): Verdict => judge(evidence.flat(), OPTIONS);

/** Exactly these, and nothing else is complained about. */
function expectFailures(verdict: Verdict, failures: Partial<Record<Failure, number>>): void {
  const found = Object.fromEntries(Object.entries(verdict.failures).filter(([, count]) => count > 0));
  expect(found, verdict.details.join("\n")).toEqual(failures);
  expect(verdict.ok).toBe(Object.keys(failures).length === 0);
}

describe("the checker accepts", () => {
  it("every publication once and in order, and says how many it judged", () => {
    const verdict = run(
      client(),
      subscribed(0),
      three(),
      message("p1", 1),
      message("p2", 2),
      message("p3", 3),
      end(),
    );
    expectFailures(verdict, {});
    expect(verdict).toMatchObject({ acked: 3, deliveries: 3, endings: 1, recoveries: 0, epochs: 1 });
  });

  it("a publication that may have happened, seen or not", () => {
    const seen = run(
      client(),
      subscribed(0),
      failed("p1", "maybe"),
      acked("p2", 2),
      message("p1", 1),
      message("p2", 2),
      end(),
    );
    expectFailures(seen, {});
    const unseen = run(
      client(),
      subscribed(0),
      failed("p1", "maybe"),
      acked("p2", 1),
      message("p2", 1),
      end(),
    );
    expectFailures(unseen, {});
  });

  it("a reconnect that brings what was missed", () => {
    const verdict = run(
      ...[client(), subscribed(0), three(), message("p1", 1)],
      ...[subscribed(3, "E", { missed: 2, recovered: true }), message("p2", 2), message("p3", 3), end()],
    );
    expectFailures(verdict, {});
    expect(verdict).toMatchObject({ recoveries: 1, notRecovered: 0 });
  });

  it("a gap that is filled, as after a slow reader drained", () => {
    expectFailures(
      run(
        client(),
        subscribed(0),
        three(),
        message("p1", 1),
        gap(true, 3, "E", 2),
        message("p2", 2),
        message("p3", 3),
        end(),
      ),
      {},
    );
  });

  it("recovered: false after Redis lost data, and the same id again in the new epoch", () => {
    const verdict = run(
      ...[client(), subscribed(0), three(), message("p1", 1), message("p2", 2), fault(true)],
      ...[
        gap(false, 0, "F"),
        acked("p4", 1, "F"),
        message("p4", 1, "F"),
        message("p2", 2, "F"),
        acked("p5", 3, "F"),
      ],
      ...[message("p5", 3, "F"), end()],
    );
    expectFailures(verdict, {});
    expect(verdict).toMatchObject({ notRecovered: 1, repeatedAfterLoss: 1, epochs: 2 });
  });

  it("recovered: false where more was missed than the history holds", () => {
    const publications = Array.from({ length: 20 }, (_, i) => acked(`p${i + 1}`, i + 1));
    expectFailures(
      run(
        client(),
        subscribed(0),
        publications,
        subscribed(19, "E", { recovered: false }),
        message("p20", 20),
        end(),
      ),
      {},
    );
  });

  it("recovered: false where what was missed had expired", () => {
    const evidence = [client(), subscribed(0), acked("p1", 1), acked("p2", 2)];
    clockMs += OPTIONS.historyTtlMs;
    expectFailures(
      run(evidence, subscribed(2, "E", { recovered: false }), acked("p3", 3), message("p3", 3), end()),
      {},
    );
  });

  it("a client that was not connected at the end wherever it stood", () => {
    expectFailures(
      run(
        ...[client(), subscribed(0), three(), message("p1", 1), end(false), client("c2")],
        ...[{ ...subscribed(3), client: "c2" } as Evidence, { ...end(), client: "c2" } as Evidence],
      ),
      {},
    );
  });

  it("members that are who is connected", () => {
    expectFailures(
      run(client(), subscribed(0), acked("p1", 1), message("p1", 1), end(true, "x"), {
        kind: "presence",
        node: "n1",
        channel: CHANNEL,
        connections: ["x"],
      }),
      {},
    );
  });
});

describe("the checker catches", () => {
  it("a publication left out", () => {
    expectFailures(run(client(), subscribed(0), three(), message("p1", 1), message("p3", 3), end()), {
      silentLosses: 1,
    });
  });

  it("a tail that never came", () => {
    expectFailures(run(client(), subscribed(0), three(), message("p1", 1), end()), { silentLosses: 2 });
  });

  it("a client that was never answered", () => {
    expectFailures(
      run(
        client(),
        client("c2"),
        { ...end(), client: "c2" } as Evidence,
        subscribed(0),
        acked("p1", 1),
        message("p1", 1),
        end(),
      ),
      { silentLosses: 1 },
    );
  });

  it("recovered: true that skips", () => {
    expectFailures(
      run(
        client(),
        subscribed(0),
        three(),
        message("p1", 1),
        subscribed(3, "E", { missed: 1, recovered: true }),
        message("p3", 3),
        end(),
      ),
      { silentLosses: 1 },
    );
  });

  it("recovered: true whose publications do not come", () => {
    expectFailures(
      run(
        client(),
        subscribed(0),
        three(),
        message("p1", 1),
        subscribed(3, "E", { missed: 2, recovered: true }),
        message("p3", 3),
        end(),
      ),
      { silentLosses: 1 },
    );
  });

  it("a reconnect that says nothing and skips", () => {
    expectFailures(run(client(), subscribed(0), three(), message("p1", 1), subscribed(3), end()), {
      silentLosses: 2,
    });
  });

  it("a filled gap that is not", () => {
    expectFailures(run(client(), subscribed(0), three(), message("p1", 1), gap(true, 3), end()), {
      silentLosses: 2,
    });
  });

  it("a new epoch that nobody told", () => {
    const before = [
      client(),
      subscribed(0),
      acked("p1", 1),
      message("p1", 1),
      fault(true),
      acked("p2", 1, "F"),
    ];
    expectFailures(run(before, message("p2", 1, "F"), end()), { silentLosses: 1 });
    expectFailures(
      run(before, subscribed(1, "F", { recovered: true, missed: 1 }), message("p2", 1, "F"), end()),
      {
        silentLosses: 1,
      },
    );
  });

  it("one position for two publications: an epoch that outlived a loss", () => {
    const evidence = [
      client(),
      subscribed(0),
      acked("p1", 1),
      message("p1", 1),
      acked("p2", 2),
      message("p2", 2),
    ];
    expectFailures(run(evidence, fault(true), acked("p3", 2), acked("p4", 3), message("p4", 3), end()), {
      mixedUp: 1,
    });
  });

  it("an epoch that comes back", () => {
    expectFailures(
      run(
        ...[client(), subscribed(0), acked("p1", 1), message("p1", 1), fault(true), gap(false, 0, "F")],
        ...[fault(true), gap(false, 1, "E"), acked("p2", 2), message("p2", 2), end()],
      ),
      // The first loss does not explain F: E was alive after it.
      { mixedUp: 1, unexcused: 1 },
    );
  });

  it("the same position twice", () => {
    expectFailures(
      run(
        client(),
        subscribed(0),
        three(),
        message("p1", 1),
        message("p2", 2),
        message("p2", 2),
        message("p3", 3),
        end(),
      ),
      {
        duplicates: 1,
      },
    );
  });

  it("a replay after a position that goes back", () => {
    expectFailures(
      run(
        ...[client(), subscribed(0), three(), message("p1", 1), message("p2", 2), message("p3", 3)],
        ...[subscribed(3, "E", { missed: 1, recovered: true }), message("p3", 3), end()],
      ),
      { duplicates: 1 },
    );
  });

  it("one publication at two positions: a repetition that was made twice", () => {
    expectFailures(
      run(
        client(),
        subscribed(0),
        acked("p1", 1),
        message("p1", 1),
        message("p1", 2),
        acked("p3", 3),
        message("p3", 3),
        end(),
      ),
      { duplicates: 1 },
    );
  });

  it("publications out of order", () => {
    expectFailures(
      run(client(), subscribed(0), three(), message("p1", 1), message("p3", 3), message("p2", 2), end()),
      { silentLosses: 1, reorderings: 1 },
    );
  });

  it("a publication before the answer to the subscription", () => {
    expectFailures(run(client(), acked("p1", 1), message("p1", 1), end()), { reorderings: 1 });
  });

  it("an order that is not the publisher's", () => {
    expectFailures(
      run(client(), acked("p1", 2), acked("p2", 1), subscribed(0), message("p2", 1), message("p1", 2), end()),
      { reorderings: 1 },
    );
  });

  it("another channel's publication, by its name or by its content", () => {
    const evidence = [client(), subscribed(0), acked("p1", 1), message("p1", 1)];
    expectFailures(run(evidence, message("p1", 1, "E", "c1", "chat:b"), end()), { foreign: 1 });
    expectFailures(run(evidence, acked("p2", 1, "G", { channel: "chat:b" }), message("p2", 2), end()), {
      foreign: 1,
    });
  });

  it("what nobody published, or was refused", () => {
    expectFailures(run(client(), subscribed(0), message("x", 1), acked("p1", 2), message("p1", 2), end()), {
      untrue: 1,
    });
    expectFailures(
      run(
        client(),
        subscribed(0),
        failed("p0", "refused"),
        message("p0", 1),
        acked("p1", 2),
        message("p1", 2),
        end(),
      ),
      { untrue: 1 },
    );
  });

  it("what has no position", () => {
    const { position: _dropped, ...bare } = message("p1", 1) as Evidence & { position: unknown };
    const unpositioned = acked("p1", 1, "E", { position: undefined });
    expectFailures(
      run(client(), subscribed(0), unpositioned, bare, acked("p2", 1), message("p2", 1), end()),
      { unpositioned: 2 },
    );
  });

  it("recovered: false although the history reached back", () => {
    expectFailures(
      run(
        client(),
        subscribed(0),
        three(),
        message("p1", 1),
        subscribed(3, "E", { recovered: false }),
        end(),
      ),
      { unexcused: 1 },
    );
  });

  it("recovered: false by an epoch that no loss explains", () => {
    const before = [client(), subscribed(0), acked("p1", 1), message("p1", 1)];
    const after = () => [gap(false, 0, "F"), acked("p2", 1, "F"), message("p2", 1, "F"), end()];
    expectFailures(run(before, after()), { unexcused: 1 });
    expectFailures(run(before, fault(false), after()), { unexcused: 1 });
    expectFailures(run(before, fault(true), acked("p9", 2), message("p9", 2), after()), { unexcused: 1 });
  });

  it("two new epochs by one loss", () => {
    expectFailures(
      run(
        ...[client(), subscribed(0), acked("p1", 1), message("p1", 1), fault(true), gap(false, 0, "F")],
        ...[gap(false, 0, "G"), acked("p2", 1, "G"), message("p2", 1, "G"), end()],
      ),
      { unexcused: 1 },
    );
  });

  it("a gap that says not where the client stands", () => {
    const { position: _dropped, ...bare } = gap(false, 1) as Evidence & { position: unknown };
    expectFailures(run(client(), subscribed(0), acked("p1", 1), bare, message("p1", 1), end()), {
      unexcused: 1,
    });
  });

  it("ghosts, and members that are not known", () => {
    expectFailures(
      run(client(), subscribed(0), acked("p1", 1), message("p1", 1), end(true, "x"), {
        kind: "presence",
        node: "n1",
        channel: CHANNEL,
        connections: ["y", "z"],
      }),
      { ghosts: 2, absent: 1 },
    );
  });

  it("a run in which nothing happened", () => {
    expect(run(client(), subscribed(0), end()).ok).toBe(false);
    expect(run().ok).toBe(false);
  });
});

it("a verdict says what was judged and names each failure", () => {
  const lines = describeVerdict(
    run(client(), subscribed(0), three(), message("p1", 1), message("p3", 3), end()),
  );
  expect(lines.join("\n")).toContain("3 acknowledged");
  expect(lines).toContain("verdict: FAILED");
  expect(lines.some((line) => /^FAIL silentLosses +1 /.test(line))).toBe(true);
  expect(lines.some((line) => line.includes("c1 had p3 of chat:a at E:3 while it stood at E:1"))).toBe(true);
});

it("keeps no list of what a long run delivered: clients at one position cost one entry", () => {
  const checker = new Checker(OPTIONS);
  for (let i = 0; i < 100; i++) {
    const name = `c${i}`;
    checker.add(client(name));
    checker.add({ ...subscribed(0), client: name } as Evidence);
    checker.add(message("p1", 1, "E", name));
    checker.add({ ...end(), client: name } as Evidence);
  }
  checker.add(acked("p1", 1));
  expect(checker.verdict()).toMatchObject({ ok: true, deliveries: 100, endings: 100 });
});

it("the checker imports nothing but its own parts", () => {
  for (const file of ["checker.ts", "roster-checker.ts"]) {
    const source = readFileSync(new URL(file, import.meta.url), "utf8");
    expect(source.replace(/^import .* from "\.\/\w+-checker\.js";$/m, "")).not.toMatch(
      /^import |import\(|require\(/m,
    );
  }
});
