/** Outcomes of a bench that never ran: the same numbers each time. */

import type {
  BenchResult,
  Figure,
  LatencySummary,
  PeerName,
  ScenarioName,
  ScenarioRun,
  SummaryCell,
  SummaryRow,
} from "../../../bench/types.js";

const RUNS = 5;

/** Deterministic, between 0 and 1. */
function createRandom(): () => number {
  let state = 42;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

interface CaseSpec {
  readonly scenario: ScenarioName;
  readonly variant: string;
  readonly figures: readonly (Omit<Figure, "value"> & {
    readonly values: Partial<Record<PeerName, number>>;
  })[];
  /** Median latency by peer. */
  readonly latencyUs?: Partial<Record<PeerName, number>>;
}

const perSecond = (name: string, label: string, values: Partial<Record<PeerName, number>>) =>
  ({ name, label, unit: "1/s", better: "higher", values }) as const;

const CASES: readonly CaseSpec[] = [
  {
    scenario: "connect",
    variant: "10,000 connections",
    figures: [
      perSecond("acceptsPerServerCoreSecond", "accepts per server core second", {
        starling: 17_500,
        raw: 17_900,
        "raw-batched": 17_800,
        ws: 4_900,
        "socket.io": 2_000,
        "socket.io-uws": 3_900,
        "json-publish": 16_000,
        centrifugo: 10_000,
      }),
      {
        name: "rssBytesPerConnection",
        label: "server memory per idle connection",
        unit: "bytes",
        better: "lower",
        values: {
          starling: 1_353,
          raw: 1_153,
          "raw-batched": 1_150,
          ws: 5_988,
          "socket.io": 13_079,
          "socket.io-uws": 8_972,
          "json-publish": 1_500,
          centrifugo: 24_000,
        },
      },
    ],
  },
  {
    scenario: "fanout",
    variant: "1 x 1,000",
    figures: [
      perSecond("deliveriesPerServerCoreSecond", "deliveries per server core second", {
        starling: 1_460_000,
        raw: 1_490_000,
        "raw-batched": 1_610_000,
        ws: 60_000,
        "socket.io": 52_000,
        "socket.io-uws": 1_200_000,
        "json-publish": 1_400_000,
      }),
      {
        name: "p99",
        label: "p99 latency",
        unit: "us",
        better: "lower",
        values: { starling: 3_800, raw: 4_000, ws: 51_000, "socket.io": 70_000, "socket.io-uws": 9_000 },
      },
      {
        name: "lost",
        label: "lost",
        unit: "messages",
        better: "lower",
        values: { starling: 0, raw: 0, ws: 0 },
      },
    ],
    latencyUs: {
      starling: 480,
      raw: 450,
      "raw-batched": 470,
      ws: 4_000,
      "socket.io": 6_000,
      "socket.io-uws": 900,
      "json-publish": 700,
    },
  },
  {
    scenario: "bridge",
    variant: "2 nodes, fan-out 10, sustained",
    figures: [
      perSecond("sustainedDeliveries", "highest sustained deliveries", {
        starling: 268_000,
        ws: 42_000,
        "socket.io": 33_000,
        "socket.io-uws": 140_000,
        "json-publish": 57_000,
      }),
    ],
    latencyUs: {
      starling: 900,
      ws: 12_000,
      "socket.io": 18_000,
      "socket.io-uws": 3_000,
      "json-publish": 5_000,
    },
  },
];

function latency(medianUs: number, random: () => number): LatencySummary {
  const count = 250_000;
  const scale = medianUs * (0.9 + 0.2 * random());
  const percentiles: (readonly [number, number])[] = [];
  for (let nines = 0; nines <= 5.4; nines += 0.05) {
    percentiles.push([100 * (1 - 10 ** -nines), Math.round(scale * (0.5 + nines ** 2.2))]);
  }
  percentiles.push([100, Math.round(scale * 40)]);
  return { count, percentiles, meanUs: scale * 1.1, maxUs: scale * 40 };
}

function run(spec: CaseSpec, peer: PeerName, number: number, random: () => number): ScenarioRun {
  const noise = (): number => 0.93 + 0.14 * random();
  const medianUs = spec.latencyUs?.[peer];
  const main = spec.figures[0]!.values[peer]!;
  const limited = spec.scenario === "fanout" && peer === "starling" && number === 2 ? "client" : "none";
  const seconds = Array.from({ length: 11 }, (_, second) => second);
  return {
    scenario: spec.scenario,
    variant: spec.variant,
    peer,
    protocol: peer.startsWith("socket.io") ? "socket.io" : "starling-json",
    run: number,
    startedAt: "2026-01-02T03:04:05.000Z",
    figures: spec.figures.flatMap(({ values, ...figure }) => {
      const value = values[peer];
      return value === undefined ? [] : [{ ...figure, value: value * noise() }];
    }),
    ...(medianUs !== undefined && { latency: latency(medianUs, random) }),
    series:
      spec.scenario === "connect"
        ? [
            { name: "connections", unit: "connections", points: seconds.map((at) => [at, at * 1_000]) },
            {
              name: "serverRssBytes",
              unit: "bytes",
              points: seconds.map((at) => [at, 60e6 + at * 1_000 * spec.figures[1]!.values[peer]! * noise()]),
            },
          ]
        : [{ name: "deliveries", unit: "1/s", points: seconds.map((at) => [at, main * noise()]) }],
    cpu: { wallSeconds: 10, clientSeconds: 7, serverSeconds: 9, busiestClient: 0.7, busiestServer: 0.96 },
    limited,
    problems: limited === "client" ? ["the generator used 97 % of its core"] : [],
  };
}

const spread = (values: readonly number[]) => {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, min: sorted[0]!, max: sorted.at(-1)! };
};

function summarize(runs: readonly ScenarioRun[], reference: string): SummaryRow[] {
  return CASES.flatMap(({ scenario, variant, figures }) =>
    figures.map(({ values: _values, ...figure }) => {
      const peers = new Set(runs.filter((each) => each.variant === variant).map(({ peer }) => peer));
      const valuesOf = (peer: string): number[] =>
        runs
          .filter((each) => each.variant === variant && each.peer === peer)
          .flatMap((each) =>
            each.figures.filter(({ name }) => name === figure.name).map(({ value }) => value),
          );
      const cells = Array.from(peers).flatMap((peer): SummaryCell[] => {
        const values = valuesOf(peer);
        const references = valuesOf(reference);
        if (values.length === 0) return [];
        return [
          {
            peer,
            runs: values.length,
            ...spread(values),
            ...(peer !== reference &&
              references.every((value) => value > 0) && {
                ratio: spread(values.map((value, at) => value / references[at]!)),
              }),
            clientLimitedRuns: runs.filter(
              (each) => each.variant === variant && each.peer === peer && each.limited === "client",
            ).length,
          },
        ];
      });
      return { scenario, variant, figure, peers: cells };
    }),
  );
}

/** Eight peers in three scenarios, five times; the generator was the limit in one run. */
export function benchResult(changes: Partial<BenchResult> = {}): BenchResult {
  const random = createRandom();
  const runs = CASES.flatMap((spec) =>
    Array.from({ length: RUNS }, (_, at) =>
      (Object.keys(spec.figures[0]!.values) as PeerName[]).map((peer) => run(spec, peer, at + 1, random)),
    ).flat(),
  );
  return {
    format: 1,
    startedAt: "2026-01-02T03:04:05.000Z",
    finishedAt: "2026-01-02T03:44:05.000Z",
    command: "npm run bench -- connect fanout bridge --peers all --runs 5",
    machine: {
      cpu: "Example CPU at 3 GHz",
      cores: 2,
      memoryBytes: 8 * 2 ** 30,
      os: "Linux 6.1",
      node: "20.20.2",
      placement: "servers on core 0, load and Redis on core 1",
    },
    versions: { starling: "0.1.0", redis: "7.0.15", ws: "8.23.0" },
    options: { runs: 5, seconds: 10, payloadBytes: 128, acknowledged: false },
    reference: "starling",
    runs,
    summary: summarize(runs, "starling"),
    skipped: ["raw in bridge: it has no bridge"],
    profiles: [],
    ...changes,
  };
}
