import { expect, it } from "vitest";
import { RegistryChecker, type RegistryFailure } from "./registry-checker.js";

type Evidence = Parameters<RegistryChecker["add"]>[0];

const end = (connection: string, connected = true): Evidence => ({
  kind: "end",
  client: connection,
  connected,
  connection,
});
const hash = (node: string, ...connections: string[]): Evidence => ({ kind: "hash", node, connections });
const living: Evidence = { kind: "living", nodes: ["a", "b"] };
const claim = (client: string, token: string, atMs: number): Evidence => ({
  kind: "claim",
  client,
  session: "s",
  token,
  atMs,
});
const fault = (startMs: number, losesData: boolean): Evidence => ({
  kind: "fault",
  startMs,
  endMs: startMs + 10,
  losesData,
});
const well = [living, end("a.1"), end("b.1"), end("b.2", false), hash("a", "a.1"), hash("b", "b.1")];

function failuresOf(...evidence: Evidence[]): Partial<Record<RegistryFailure, number>> {
  const checker = new RegistryChecker();
  for (const one of evidence) checker.add(one);
  const verdict = checker.verdict();
  const found = Object.fromEntries(Object.entries(verdict.failures).filter(([, count]) => count > 0));
  expect(verdict.ok, verdict.details.join("\n")).toBe(Object.keys(found).length === 0);
  return found;
}

it("accepts hashes of just who is connected, and tokens that worked once", () => {
  expect(failuresOf(...well, claim("c1", "t1", 100), claim("c1", "t2", 200))).toEqual({});
});

it("catches an entry of a connection that is gone, that is another node's, or that stands twice", () => {
  expect(failuresOf(...well, hash("b", "b.2"))).toEqual({ ghosts: 1 });
  expect(failuresOf(living, end("a.1"), hash("b", "a.1"))).toEqual({ ghosts: 1 });
  expect(failuresOf(...well, hash("b", "b.1"))).toEqual({ ghosts: 1 });
});

it("catches a connection that no hash has", () => {
  expect(failuresOf(...well, end("a.7"))).toEqual({ absent: 1 });
});

it("catches what is left of a dead node", () => {
  expect(failuresOf(...well, hash("dead"))).toEqual({ leftovers: 1 });
  expect(failuresOf(...well, hash("dead", "dead.1"))).toEqual({ leftovers: 1, ghosts: 1 });
});

it("catches a session that was given twice for one token, unless Redis lost data between", () => {
  const twice = [...well, claim("c1", "t1", 100), claim("c2", "t1", 200)];
  expect(failuresOf(...twice)).toEqual({ doubleClaims: 1 });
  expect(failuresOf(...twice, fault(150, false))).toEqual({ doubleClaims: 1 });
  expect(failuresOf(...twice, fault(500, true))).toEqual({ doubleClaims: 1 });
  expect(failuresOf(...twice, fault(150, true))).toEqual({});
});

it("does not accept a run of which nothing was recorded", () => {
  expect(new RegistryChecker().verdict().ok).toBe(false);
});
