import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { parseCommand } from "../../../bench/command.js";
import { nodeAt, onNodes, referenceOf } from "../../../bench/peers/on-node.js";
import { ratiosOf, summarizeRuns } from "../../../bench/runner/summary.js";
import type { Peer, PeerStartOptions, ScenarioRun } from "../../../bench/types.js";

const own = { path: process.execPath, version: process.version };

/** A program that says it is a Node of this version. */
function otherNode(version: string): string {
  const folder = mkdtempSync(join(tmpdir(), "starling-node-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "node");
  writeFileSync(path, `#!/bin/sh\necho ${version}\n`);
  chmodSync(path, 0o755);
  return path;
}

function peer(name: string, started: PeerStartOptions[] = []): Peer {
  return {
    ...{ name, description: "", protocol: "starling-json", maxNodes: 1, has: [] },
    start(options) {
      started.push(options);
      return Promise.resolve({ nodes: [], stop: () => Promise.resolve() });
    },
  };
}

it("--node may be given several times, each a Node that runs here", () => {
  const other = otherNode("v99.1.2");
  expect(parseCommand([]).nodeBinaries).toEqual([]);
  const { nodeBinaries } = parseCommand(["--node", process.execPath, "--node", other]);
  expect(nodeBinaries).toEqual([own, { path: other, version: "v99.1.2" }]);
  expect(() => nodeAt("/nowhere/node")).toThrow("ENOENT");
  expect(() => nodeAt(otherNode("hello"))).toThrow('"hello", no version of Node');
});

it("one Node runs the peers under their names, of several each runs each", async () => {
  const started: PeerStartOptions[] = [];
  const peers = [peer("starling", started), peer("raw")];
  expect(onNodes(peers, [])).toEqual(peers);
  expect(onNodes(peers, [own]).map(({ name }) => name)).toEqual(["starling", "raw"]);
  const other = { path: "/other/node", version: "v99.1.2" };
  const all = onNodes(peers, [own, other]);
  expect(all.map(({ name }) => name)).toEqual([
    `starling@${own.version}`,
    "starling@v99.1.2",
    `raw@${own.version}`,
    "raw@v99.1.2",
  ]);
  await all[1]!.start({ nodes: 1, features: { history: true } });
  expect(started).toEqual([{ nodes: 1, features: { history: true, nodePath: "/other/node" } }]);
});

it("a peer is compared with the reference on the same Node", () => {
  expect(referenceOf("starling", "raw")).toBe("raw");
  expect(referenceOf("starling@v99.1.2", "raw")).toBe("raw@v99.1.2");
  expect(referenceOf("prod@v2", "raw")).toBe("raw");
  const of = (name: string, value: number): ScenarioRun => ({
    ...{ scenario: "ingest", variant: "1 x 1", protocol: "starling-json", run: 1, startedAt: "" },
    ...{ peer: name, series: [], limited: "server", problems: [] },
    cpu: { wallSeconds: 1, clientSeconds: 1, serverSeconds: 1, busiestClient: 1, busiestServer: 1 },
    figures: [{ name: "deliveries", label: "", unit: "1/s", better: "higher", value }],
  });
  const runs = [
    of("starling@v20.1.2", 6),
    of("raw@v20.1.2", 2),
    of("starling@v24.1.2", 8),
    of("raw@v24.1.2", 4),
  ];
  const [row] = summarizeRuns(runs, "raw");
  expect(row!.peers.map(({ ratio }) => ratio?.median)).toEqual([3, undefined, 2, undefined]);
  expect(ratiosOf(runs).map(({ subject, peers }) => [subject, ...peers.map(({ median }) => median)])).toEqual(
    [
      ["starling@v20.1.2", 3],
      ["starling@v24.1.2", 2],
    ],
  );
});
