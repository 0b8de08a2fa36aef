/** envoy.yaml with the real Envoy in front of three real nodes: `npm run stack` as a test. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NodePlace } from "../../scripts/stack/node-place.js";
import { startStack, type Stack } from "../../scripts/stack/start.js";
import { Crowd, chatFlag } from "../faults/crowd.js";
import { describeVerdict } from "../faults/checker.js";
import { closeAll, countOf, inTurns, upgrade, whereKeysLand } from "../support/envoy.js";
import { until } from "../support/nodes.js";

let stack: Stack;
const crashes: string[] = [];

beforeAll(async () => {
  const chat = chatFlag() as { namespaces: string };
  stack = await startStack({
    nodes: 3,
    nodeFlags: [
      `--namespaces=${chat.namespaces}`,
      ...["--no-demo", "--log-level=warn", "--drain-notice-ms=4000", "--drain-ms=500", "--lease-ttl-ms=2000"],
    ],
    onExit: (what, lastWords) => crashes.push(what + lastWords),
  });
});
afterAll(async () => {
  await stack?.stop();
  expect(crashes).toEqual([]);
});

const url = (): string => stack.envoy.wsUrl;
const keys = (count: number, name = "room"): string[] =>
  Array.from({ length: count }, (_, index) => `${name}-${index}`);
/** A node that comes again has another id: n1, n1-2, n1-3. */
const placeOf = (node: string): string => node.replace(/-\d+$/, "");
const places = (landed: Map<string, string>): Map<string, string> =>
  new Map([...landed].map(([key, node]) => [key, placeOf(node)]));
const healthy = (count: number): Promise<unknown> =>
  until(`${count} healthy nodes`, async () => (await stack.envoy.healthyNodes()) === count, 20_000);

async function again(node: NodePlace): Promise<void> {
  await node.start();
  await healthy(3);
}

describe("clients with a key", () => {
  it("land on one node where their keys are equal, and on all nodes where they differ", async () => {
    const landed = await Promise.all(
      keys(60).map((key) => Promise.all(Array.from({ length: 5 }, () => upgrade(url(), `key=${key}`)))),
    );
    await closeAll(landed.flat().map(({ socket }) => socket));
    for (const ofOneKey of landed) expect(new Set(ofOneKey.map(({ node }) => node)).size).toBe(1);
    const spread = countOf(landed.map(([first]) => placeOf(first!.node)));
    expect(Object.keys(spread).sort()).toEqual(["n1", "n2", "n3"]);
  });

  it(
    "stay with their nodes when another is removed, and its own come back with it",
    { timeout: 90_000 },
    async () => {
      const all = keys(1_500);
      const before = places(await whereKeysLand(url(), all));
      const removed = stack.nodes[1]!;
      await removed.end("SIGKILL");
      await healthy(2);
      const without = places(await whereKeysLand(url(), all));
      await again(removed);
      const after = places(await whereKeysLand(url(), all));

      const own = all.filter((key) => before.get(key) === removed.name);
      const others = all.filter((key) => before.get(key) !== removed.name);
      const moved = others.filter((key) => without.get(key) !== before.get(key));
      const back = all.filter((key) => after.get(key) === before.get(key));
      console.info(
        `keys by node ${JSON.stringify(countOf(before.values()))}; without ${removed.name}: ` +
          `its ${own.length} went to ${JSON.stringify(countOf(own.map((key) => without.get(key)!)))}, ` +
          `${moved.length} of the others' ${others.length} moved (${((moved.length / others.length) * 100).toFixed(2)} %); ` +
          `with it again ${back.length} of ${all.length} are where they were`,
      );
      expect(own.length).toBeGreaterThan(all.length / 6);
      expect([...without.values()]).not.toContain(removed.name);
      expect(moved.length / others.length).toBeLessThanOrEqual(0.01);
      expect(back.length / all.length).toBeGreaterThanOrEqual(0.99);
    },
  );
});

describe("clients without a key", () => {
  it("land by the cookie that they get with the 101", async () => {
    const first = await Promise.all(Array.from({ length: 12 }, () => upgrade(url())));
    const cookies = first.map(({ headers }) => headers["set-cookie"]?.[0]?.split(";")[0] ?? "");
    for (const cookie of cookies) expect(cookie).toMatch(/^starling-node="?\w+"?$/);
    const second = await Promise.all(cookies.map((cookie) => upgrade(url(), "", { headers: { cookie } })));
    await closeAll([...first, ...second].map(({ socket }) => socket));
    expect(second.map(({ node }) => node)).toEqual(first.map(({ node }) => node));
    expect(second.every(({ headers }) => headers["set-cookie"] === undefined)).toBe(true);
  });
});

describe("a node that is killed", () => {
  it(
    "loses its clients to the others: each gets its 101 at once, none a 503",
    { timeout: 60_000 },
    async () => {
      const all = keys(240);
      const held = await inTurns(all, (key) => upgrade(url(), `key=${key}`));
      const killed = stack.nodes[0]!;
      const returned: Promise<{ status: number; node: string }>[] = [];
      const others: string[] = [];
      const sockets = held.map(({ socket }) => socket);
      held.forEach(({ node, socket }, index) => {
        socket.once("close", () => {
          if (placeOf(node) !== killed.name) others.push(node);
          returned.push(
            upgrade(url(), `key=${all[index]}`).then((result) => {
              sockets.push(result.socket);
              return result;
            }),
          );
        });
      });
      const mine = held.filter(({ node }) => placeOf(node) === killed.name).length;
      await killed.end("SIGKILL");
      await until("all are cut off", () => returned.length === mine);
      const results = await Promise.all(returned);
      console.info(
        `${mine} clients of the killed node: ${JSON.stringify(countOf(results.map(({ status }) => String(status))))}`,
      );
      expect(mine).toBeGreaterThan(40);
      expect(countOf(results.map(({ status }) => String(status)))).toEqual({ "101": mine });
      expect(results.map(({ node }) => placeOf(node))).not.toContain(killed.name);
      expect(others).toEqual([]);
      for (const socket of sockets) socket.removeAllListeners("close");
      await closeAll(sockets);
      await again(killed);
    },
  );
});

describe("many clients", () => {
  it("pass: 1,024 is not their limit", { timeout: 60_000 }, async () => {
    const held = await inTurns(keys(1_500, "many"), (key) => upgrade(url(), `key=${key}`), 100);
    const active = await stack.envoy.stats(
      "^cluster.nodes.(upstream_cx_active|upstream_cx_overflow|upstream_rq_pending_overflow)$",
    );
    await closeAll(held.map(({ socket }) => socket));
    expect(countOf(held.map(({ status }) => String(status)))).toEqual({ "101": 1_500 });
    expect(active.get("cluster.nodes.upstream_cx_active")).toBeGreaterThanOrEqual(1_500);
    expect(active.get("cluster.nodes.upstream_cx_overflow")).toBe(0);
    expect(active.get("cluster.nodes.upstream_rq_pending_overflow")).toBe(0);
  });
});

describe("nodes that drain", () => {
  it("get no new sockets, though they are two of three", { timeout: 60_000 }, async () => {
    const [first, second, stays] = stack.nodes as [NodePlace, NodePlace, NodePlace];
    const held = await inTurns(keys(30), (key) => upgrade(url(), `key=${key}`));
    const stood = held.filter(({ node }) => placeOf(node) !== stays.name);
    const ended = Promise.all([first.end("SIGTERM"), second.end("SIGTERM")]);
    await healthy(1);
    const fresh = await inTurns(keys(60, "fresh"), (key) => upgrade(url(), `key=${key}`));
    // Their own are there still: that is what the notice is for.
    const standing = stood.filter(({ socket }) => socket.readyState === socket.OPEN).length;
    expect(countOf(fresh.map(({ status, node }) => `${status} ${placeOf(node)}`))).toEqual({ "101 n3": 60 });
    expect(standing).toBe(stood.length);
    expect(first.running && second.running).toBe(true);
    await ended;
    await closeAll([...held, ...fresh].map(({ socket }) => socket));
    await Promise.all([first.start(), second.start()]);
    await healthy(3);
  });
});

describe("an Envoy that is restarted", () => {
  it.each(["SIGTERM", "SIGKILL"] as const)(
    "costs no client a message (%s)",
    { timeout: 90_000 },
    async (signal) => {
      const crowd = new Crowd({
        urls: keys(40, "crowd").map((key) => `${url()}/?key=${key}`),
        clients: 60,
        channels: [`chat:${signal}-1`, `chat:${signal}-2`],
      });
      await crowd.ready();
      await crowd.during(async () => {
        const traffic = async (): Promise<void> => {
          const had = crowd.received;
          await until("traffic", () => crowd.received > had + 600);
        };
        await traffic();
        await crowd.fault("Envoy restarts", false, () => stack.envoy.restart(signal));
        await until(
          "all are back",
          () => crowd.clients.every(({ connects, ready }) => connects >= 2 && ready),
          30_000,
        );
        await traffic();
      });
      const { troubles } = crowd;
      const verdict = await crowd.verdict();
      console.info(`${signal}: ${describeVerdict(verdict).join("; ")}`);
      expect(troubles).toEqual([]);
      expect(verdict.ok, describeVerdict(verdict).join("\n")).toBe(true);
      expect(verdict.notRecovered).toBe(0);
      expect(verdict.deliveries).toBeGreaterThan(1_000);
    },
  );
});

describe("the server API", () => {
  it("is reached at a port of its own, and nothing else of the nodes' is", async () => {
    const { apiUrl, wsUrl } = stack.envoy;
    const totals = await fetch(`${apiUrl}/v1/totals`);
    expect(await totals.json()).toMatchObject({ nodes: 3 });
    for (const path of ["/metrics", "/readyz", "/healthz", "/v1/%2e%2e/metrics", "/stats/prometheus"]) {
      expect([path, (await fetch(apiUrl + path)).status]).toEqual([path, 404]);
    }
    for (const path of ["/v1/totals", "/metrics", "/readyz", "/stats/prometheus"]) {
      expect([path, (await fetch(wsUrl.replace("ws:", "http:") + path)).status]).toEqual([path, 404]);
    }
  });
});

describe("Envoy's own port for Prometheus", () => {
  it("shows its numbers and nothing else of the admin interface", async () => {
    const { metricsUrl } = stack.envoy;
    const text = await (await fetch(metricsUrl)).text();
    expect(text).toMatch(/envoy_cluster_membership_healthy\{envoy_cluster_name="nodes"\} 3/);
    expect(text).toMatch(/envoy_http_downstream_cx_active\{envoy_http_conn_manager_prefix="edge"\}/);
    for (const path of ["/", "/stats", "/config_dump", "/clusters", "/quitquitquit"]) {
      expect([path, (await fetch(new URL(path, metricsUrl), { method: "POST" })).status]).toEqual([
        path,
        404,
      ]);
    }
  });
});

describe("the access log", () => {
  it("has the path without what stands in the query", async () => {
    const { socket } = await upgrade(url(), "key=logged&token=very-secret");
    await closeAll([socket]);
    const lines = (): string[] => stack.envoy.log.split("\n").filter((line) => line.startsWith("{"));
    await until("it was written", () => lines().length > 0, 15_000);
    expect(stack.envoy.log).not.toMatch(/very-secret|key=/);
    expect(JSON.parse(lines().at(-1)!)).toMatchObject({ path: "/", client: "127.0.0.1" });
  });
});
