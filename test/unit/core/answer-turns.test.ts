import { describe, expect, it } from "vitest";
import { AnswerTurns } from "../../../src/core/answer-turns.js";
import { turn } from "./harness.js";

const PAGE = 200_000;

describe("large answers", () => {
  it("leave one in a turn, in the order in which they were asked for", async () => {
    const turns = new AnswerTurns();
    const sent: number[] = [];
    const ask = async (number: number): Promise<void> => {
      await turns.take(PAGE);
      sent.push(number);
    };
    const all = Promise.all([1, 2, 3, 4].map(ask));
    for (let count = 1; count <= 4; count++) {
      await Promise.resolve();
      expect(sent).toHaveLength(count);
      await turn();
    }
    await all;
    expect(sent).toEqual([1, 2, 3, 4]);
  });

  it("do not wait where there is room, nor do small ones until others wait", async () => {
    const turns = new AnswerTurns();
    for (let n = 0; n < 100; n++) expect(turns.take(2000)).toBeUndefined();
    expect(turns.take(PAGE)).toBeInstanceOf(Promise);
    expect(turns.take(1)).toBeInstanceOf(Promise);
    expect(turns.take(0)).toBeUndefined();
    await turn();
    await turn();
    expect(turns.take(10 * PAGE)).toBeUndefined();
  });
});
