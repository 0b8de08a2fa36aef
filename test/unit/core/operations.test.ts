import { afterEach, describe, expect, it } from "vitest";
import type { ControlQuestion, NodeAnswer } from "../../../src/core/control.js";
import { Operations } from "../../../src/core/operations.js";
import { startEdge, type TestEdge } from "./harness.js";

let test: TestEdge;
afterEach(() => test.stop());

describe("how many subscribe to a channel", () => {
  it("is known of nodes of an older version too, where it is asked of one that is no user's", async () => {
    test = await startEdge();
    const asked: string[] = [];
    const ask = ({ kind }: ControlQuestion): Promise<{ answers: NodeAnswer[]; missing: string[] }> => {
      asked.push(kind);
      const found: Record<string, NodeAnswer[]> = {
        subscribers: [{ node: "new", answer: { kind: "subscribers", counts: [2] } }],
        channels: ["new", "old"].map((node) => ({
          node,
          answer: { kind: "channels", counts: { a: 2, ab: 9 } },
        })),
      };
      return Promise.resolve({ answers: found[kind]!, missing: kind === "subscribers" ? ["old"] : [] });
    };
    test.control.ask = ask as never;
    const operations = new Operations(test.edge);
    expect(await operations.subscriberCounts("main", ["a"])).toEqual({ counts: [4], missing: [] });
    expect(await operations.subscriberCounts("main", ["#user:1"])).toEqual({ counts: [2], missing: ["old"] });
    expect(await operations.subscriberCounts("main", ["a", "b"])).toMatchObject({ missing: ["old"] });
    expect(asked).toEqual(["subscribers", "channels", "subscribers", "subscribers"]);
  });
});
