/** Medians, spread, and ratios against the reference peer. */

import { referenceOf, suffixOf } from "../peers/on-node.js";
import { groupBy } from "./group.js";
import type { ScenarioRun, SummaryCell, SummaryRow } from "../types.js";

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("no values to take the median of");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Ratios are taken run by run: the speed of a machine drifts, and runs of one number were next to each other. */
export function summarizeRuns(runs: readonly ScenarioRun[], reference: string): SummaryRow[] {
  const rows: SummaryRow[] = [];
  const cases = groupBy(runs, ({ scenario, variant }) => `${scenario}\n${variant}`);
  for (const ofCase of cases.values()) {
    const { scenario, variant } = ofCase[0]!;
    const names = new Set(ofCase.flatMap(({ figures }) => figures.map(({ name }) => name)));
    for (const name of names) {
      const { value: _, ...figure } = ofCase
        .flatMap(({ figures }) => figures)
        .find((each) => each.name === name)!;
      const byPeer = groupBy(ofCase, ({ peer }) => peer);
      const peers = [...byPeer].flatMap(([peer, ofPeer]) => {
        const against = referenceOf(peer, reference);
        const cell = cellOf(peer, ofPeer, name, ofCase, peer === against ? undefined : against);
        return cell === undefined ? [] : [cell];
      });
      rows.push({ scenario, variant, figure, peers });
    }
  }
  return rows;
}

export interface RatioRow {
  readonly scenario: string;
  readonly variant: string;
  readonly figure: SummaryRow["figure"];
  readonly subject: string;
  readonly peers: readonly Omit<SummaryCell, "ratio" | "clientLimitedRuns">[];
}

/** The subject (the first peer of each case, and Node) divided by the others, for figures of which a direction is good. */
export function ratiosOf(runs: readonly ScenarioRun[]): RatioRow[] {
  const rows: RatioRow[] = [];
  const groups = groupBy(runs, ({ scenario, variant, peer }) => `${scenario}\n${variant}\n${suffixOf(peer)}`);
  for (const ofCase of groups.values()) {
    const [subject, ...others] = new Set(ofCase.map(({ peer }) => peer));
    if (subject === undefined) continue;
    for (const { scenario, variant, figure } of summarizeRuns(ofCase, subject)) {
      if (figure.better === "neither") continue;
      const peers = others.flatMap((peer) => {
        const values = quotients(ofCase, figure.name, subject, peer);
        if (values.length === 0) return [];
        return [
          {
            peer,
            runs: values.length,
            median: median(values),
            min: Math.min(...values),
            max: Math.max(...values),
          },
        ];
      });
      if (peers.length > 0) rows.push({ scenario, variant, figure, subject, peers });
    }
  }
  return rows;
}

function quotients(runs: readonly ScenarioRun[], name: string, over: string, under: string): number[] {
  const of = (peer: string): ScenarioRun[] => runs.filter((run) => run.peer === peer);
  return of(over).flatMap((run) => {
    const upper = valueOf(run, name)[0];
    const lower = of(under)
      .filter((candidate) => candidate.run === run.run)
      .flatMap((each) => valueOf(each, name))[0];
    return upper === undefined || lower === undefined || lower === 0 ? [] : [upper / lower];
  });
}

function cellOf(
  peer: string,
  runs: readonly ScenarioRun[],
  name: string,
  ofCase: readonly ScenarioRun[],
  reference: string | undefined,
): SummaryCell | undefined {
  const values = runs.flatMap((run) => valueOf(run, name));
  if (values.length === 0) return undefined;
  const ratios = reference === undefined ? [] : quotients(ofCase, name, peer, reference);
  return {
    peer,
    runs: values.length,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    ...(ratios.length > 0 && {
      ratio: { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) },
    }),
    clientLimitedRuns: runs.filter(({ limited }) => limited === "client").length,
  };
}

const valueOf = ({ figures }: ScenarioRun, name: string): number[] =>
  figures.filter((figure) => figure.name === name && Number.isFinite(figure.value)).map(({ value }) => value);
