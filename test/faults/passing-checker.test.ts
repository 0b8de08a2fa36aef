import { expect, it } from "vitest";
import {
  judgePassing,
  type PassingEvidence,
  type PassingFailure,
  type PassingPublication,
} from "./passing-checker.js";

const CHANNEL = "room";
const GRACE_MS = 1_000;

const published = (
  id: string,
  sequence: number,
  sentAtMs: number,
  more: Partial<PassingPublication> = {},
): PassingEvidence => ({
  ...{
    kind: "passing-publication",
    id,
    channel: CHANNEL,
    publisher: "p",
    sequence,
    sentAtMs,
    settledAtMs: sentAtMs + 10,
  },
  ...{ outcome: "acked", ...more },
});
const message = (id: string, atMs: number, channel = CHANNEL): PassingEvidence => ({
  kind: "passing-message",
  client: "c",
  channel,
  id,
  atMs,
});
const sight = (kind: "passing-held" | "passing-lost" | "passing-gap", atMs: number): PassingEvidence => ({
  kind,
  client: "c",
  channel: CHANNEL,
  atMs,
});
const two = [published("a", 1, 100), published("b", 2, 200)];
const held = sight("passing-held", 0);

function failuresOf(...evidence: PassingEvidence[]): Partial<Record<PassingFailure, number>> {
  const verdict = judgePassing(evidence, { graceMs: GRACE_MS });
  const found = Object.fromEntries(Object.entries(verdict.failures).filter(([, count]) => count > 0));
  expect(verdict.ok, verdict.details.join("\n")).toBe(Object.keys(found).length === 0);
  return found;
}

it("accepts every publication once and in order, those of several publishers in any", () => {
  const other = published("x", 1, 50, { publisher: "q" });
  expect(failuresOf(...two, other, held, message("a", 110), message("x", 120), message("b", 210))).toEqual(
    {},
  );
});

it("accepts what was missed before and after the subscription, and when the connection ended within the grace", () => {
  const before = published("before", 0, -10);
  const cut = published("cut", 3, 5_000);
  const later = published("later", 4, 9_000);
  const seen = [held, message("a", 110), message("b", 210), sight("passing-lost", 5_500)];
  expect(failuresOf(before, ...two, cut, later, ...seen)).toEqual({});
});

it("accepts a loss that was told, and a publication that may have happened, seen or not", () => {
  expect(failuresOf(...two, held, message("a", 110), sight("passing-gap", 4_000))).toEqual({});
  const maybe = published("m", 3, 300, { outcome: "maybe" });
  expect(failuresOf(...two, maybe, held, message("a", 110), message("b", 210))).toEqual({});
  expect(failuresOf(...two, maybe, held, message("a", 110), message("b", 210), message("m", 310))).toEqual(
    {},
  );
});

it("catches what was missed in silence, though a gap was told before it was sent", () => {
  expect(failuresOf(...two, held, message("a", 110))).toEqual({ silentLosses: 1 });
  expect(failuresOf(...two, held, message("a", 110), sight("passing-gap", 150))).toEqual({ silentLosses: 1 });
});

it("catches a publication that came twice, over two connections too", () => {
  expect(failuresOf(...two, held, message("a", 110), message("b", 210), message("b", 220))).toEqual({
    duplicates: 1,
  });
  const again = [sight("passing-lost", 3_000), sight("passing-held", 3_100), message("b", 3_200)];
  expect(failuresOf(...two, held, message("a", 110), message("b", 210), ...again)).toEqual({ duplicates: 1 });
});

it("catches a publisher's publications out of order", () => {
  expect(failuresOf(...two, held, message("b", 210), message("a", 220))).toEqual({ reorderings: 1 });
});

it("catches publications of another channel, after the subscription, of nobody, and that were refused", () => {
  const all = [...two, held, message("a", 110), message("b", 210)];
  expect(failuresOf(...all, published("o", 9, 0, { channel: "other" }), message("o", 300))).toEqual({
    foreign: 1,
  });
  const late = published("late", 3, 4_000);
  expect(failuresOf(...all, late, sight("passing-lost", 3_000), message("late", 4_100))).toEqual({
    foreign: 1,
  });
  expect(failuresOf(...all, message("nobody", 300))).toEqual({ untrue: 1 });
  expect(failuresOf(...all, published("r", 3, 300, { outcome: "refused" }), message("r", 310))).toEqual({
    untrue: 1,
  });
});

it("does not accept a run in which nothing happened", () => {
  expect(judgePassing([held], { graceMs: GRACE_MS }).ok).toBe(false);
});
