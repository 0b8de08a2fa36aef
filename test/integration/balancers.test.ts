/** HAProxy, nginx and Envoy from their real binaries, with the configurations that docs/balancers.md and envoy.yaml show. */

import { createServer, type AddressInfo, type Socket } from "node:net";
import { connect } from "node:net";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startEnvoy } from "../../scripts/stack/envoy.js";
import { freePort } from "../../src/cli/ports.js";
import { startHaproxy, startNginx, startNginxWith, type Balancer } from "../support/balancers.js";
import { closeAll, endpointOf, upgrade } from "../support/envoy.js";
import {
  cleanUp,
  JWT_SECRET,
  startFleet,
  startTestNode,
  token,
  until,
  type InProcessNode,
} from "../support/nodes.js";
import { refusal } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
  await cleanUp();
});

const KEY = "key-of-the-tests";
const PAIR = { appKey: "key-of-pusher", appSecret: "secret-of-pusher" };
const NODE = { ...PAIR, apiKeys: [KEY], metricsPublic: true, clientAddressHops: 1, drainNoticeMs: 30_000 };
const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };

/** Of one fleet: a node that is alone drains at once, as there is nowhere else to go. */
async function pair(options = {}): Promise<[InProcessNode, InProcessNode]> {
  const [a, b] = await startFleet(2, redis, { ...NODE, ...options });
  return [a!, b!];
}

async function stopsLater<T extends { stop(): unknown }>(starting: Promise<T>): Promise<T> {
  const started = await starting;
  stops.push(() => started.stop());
  return started;
}

const BALANCERS: [string, (nodes: readonly [InProcessNode, InProcessNode]) => Promise<Balancer>][] = [
  ["HAProxy", ([a, b]) => startHaproxy({ nodes: [endpointOf(a), endpointOf(b)] })],
  ["nginx", ([a, b]) => startNginx({ nodes: [endpointOf(a), endpointOf(b)] })],
  [
    "Envoy",
    async (nodes) => {
      const envoy = await startEnvoy({ nodes: nodes.map(endpointOf) });
      const { wsUrl, apiUrl } = envoy;
      return { wsUrl, apiUrl, log: () => Promise.resolve(envoy.log), stop: () => envoy.stop() };
    },
  ],
];

describe.each(BALANCERS)("%s", { timeout: 60_000 }, (_name, start) => {
  async function stack(options = {}): Promise<{ nodes: [InProcessNode, InProcessNode]; balancer: Balancer }> {
    const nodes = await pair(options);
    return { nodes, balancer: await stopsLater(start(nodes)) };
  }

  it("passes upgrades, frames and the client's own address", async () => {
    const { nodes, balancer } = await stack({ maxConnectionsPerIp: 1, jwtSecret: JWT_SECRET });
    // More than one segment of Ethernet.
    const secret = await token({
      sub: "ann",
      channels: Array.from({ length: 60 }, (_, i) => `channel-${i}`),
    });
    const query = `key=room&token=${secret}`;
    const first = await upgrade(balancer.wsUrl, query, { headers: { "x-forwarded-for": "203.0.113.7" } });
    expect([first.status, nodes.map(({ id }) => id)]).toEqual([101, expect.arrayContaining([first.node])]);
    const heard = once(first.socket, "message");
    first.socket.send(JSON.stringify({ action: "subscribe", id: 1, channel: "channel-1" }));
    expect(String((await heard)[0])).toContain('"id":1');
    // The same key, so the same node; nginx asks the other one too. A forged address is no other address.
    const more = await Promise.all(
      ["203.0.113.8", "203.0.113.9"].map((forged) =>
        upgrade(balancer.wsUrl, query, { headers: { "x-forwarded-for": forged } }),
      ),
    );
    expect(more.map(({ status }) => status)).toContain(429);
    const last = await refusal(balancer.wsUrl, { path: `/?${query}` });
    expect(last.status).toBe(429);
    expect(last.body).not.toContain("203.0.113.");
    await closeAll([first, ...more].map(({ socket }) => socket));
    // It has the request, and not the token.
    await until("a line in the log", async () => (await balancer.log()).includes("101"));
    expect(await balancer.log()).not.toContain(secret.slice(0, 20));
  });

  it("passes the API, keeps its connections to the nodes, and shows neither health nor metrics", async () => {
    const { nodes, balancer } = await stack();
    const body = JSON.stringify({ channel: "room", content: "x".repeat(20_000) });
    for (let i = 0; i < 20; i++) {
      const response = await fetch(`${balancer.apiUrl}/v1/publish`, { method: "POST", headers, body });
      expect([response.status, await response.json()]).toEqual([200, { channel: "room" }]);
    }
    const chunked = { method: "POST", headers, body: new Blob([body]).stream(), duplex: "half" };
    expect((await fetch(`${balancer.apiUrl}/v1/publish`, chunked as RequestInit)).status).toBe(200);
    for (const path of ["/metrics", "/readyz", "/openapi.json"]) {
      expect((await fetch(balancer.apiUrl + path, { headers })).status).toBe(404);
    }
    expect((await fetch(`${balancer.apiUrl}/v1/publish`, { method: "POST", body })).status).toBe(401);
    // Pusher's, which is opened by a signature.
    expect((await fetch(`${balancer.apiUrl}/apps/main/channels`)).status).toBe(401);
    for (const node of nodes) {
      for (const code of ["internal", "request_timeout", "bad_request"]) {
        expect(await node.metric(`starling_api_errors_total{code="${code}"}`)).toBe(0);
      }
    }
  });

  it("sends newcomers elsewhere while a node drains, and lets those who are there stay", async () => {
    const { nodes, balancer } = await stack();
    const stays = await upgrade(balancer.wsUrl, "key=room");
    const draining = nodes.find(({ id }) => id === stays.node)!;
    void draining.drain();
    await until("everyone is sent elsewhere", async () => {
      const landed = await Promise.all(
        Array.from({ length: 8 }, (_, i) => upgrade(balancer.wsUrl, i === 0 ? "key=room" : "")),
      );
      await closeAll(landed.map(({ socket }) => socket));
      return landed.every(({ status, node }) => status === 101 && node !== stays.node);
    });
    expect(stays.socket.readyState).toBe(stays.socket.OPEN);
    const heard = once(stays.socket, "message");
    stays.socket.send(JSON.stringify({ action: "ping", id: 7 }));
    expect(String((await heard)[0])).toContain('"id":7');
    await closeAll([stays.socket]);
    await draining.stop();
  });
});

/** Counts the connections that go through it to the port. */
async function countingProxy(port: number): Promise<{ port: number; connections: () => number }> {
  let connections = 0;
  const open = new Set<Socket>();
  const server = createServer((client) => {
    connections++;
    const upstream = connect(port, "127.0.0.1");
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => undefined); // "close" follows
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, connections: () => connections };
}

describe("connections from a load balancer to the API", { timeout: 60_000 }, () => {
  it("are used again by nginx after 12 idle seconds: the node used to end them after 10", async () => {
    const node = await startTestNode(NODE);
    const counted = await countingProxy(endpointOf(node).apiPort);
    const endpoint = { ...endpointOf(node), apiPort: counted.port };
    // One node twice, of which the other's API is nowhere: each request goes to the one that is counted.
    const nowhere = { ...endpointOf(node), host: "127.0.0.2", apiPort: await freePort() };
    const balancer = await stopsLater(
      startNginx({
        nodes: [endpoint, nowhere],
        // A worker has connections of its own.
        adjust: (config) => `worker_processes 1;\n${config}`,
      }),
    );
    const publish = async (): Promise<number> => {
      const body = JSON.stringify({ channel: "room", content: 1 });
      const response = await fetch(`${balancer.apiUrl}/v1/publish`, { method: "POST", headers, body });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await publish()).toBe(200);
    const before = counted.connections();
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await publish()).toBe(200);
    expect(counted.connections()).toBe(before);
  });

  it("work by the shortest configuration of nginx, which asks by HTTP/1.0", async () => {
    const node = await startTestNode(NODE);
    const port = await freePort();
    const { apiPort } = endpointOf(node);
    const config = `events {}\nhttp { access_log off; server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${apiPort}; } } }`;
    const balancer = await stopsLater(startNginxWith(config, port, port));
    const body = JSON.stringify({ channel: "room", content: "x".repeat(20_000) });
    const response = await fetch(`${balancer.apiUrl}/v1/publish`, { method: "POST", headers, body });
    expect([response.status, await response.json()]).toEqual([200, { channel: "room" }]);
    expect((await fetch(`${balancer.apiUrl}/readyz`)).status).toBe(200);
  });

  it("are kept for longer than the documented configurations keep them", async () => {
    const { defaultConfig } = await import("../../src/config.js");
    const { documented } = await import("../support/balancers.js");
    const seconds = (text: string, name: string): number => {
      const [, value] = new RegExp(`${name} (\\d+)s`).exec(text) ?? [];
      if (value === undefined) throw new Error(`there is no ${name}`);
      return Number(value);
    };
    const keptMs = defaultConfig.apiKeepAliveMs;
    expect(seconds(await documented("nginx"), "keepalive_timeout") * 1_000).toBeLessThan(keptMs);
    expect(seconds(await documented("haproxy"), "pool-purge-delay") * 2_000).toBeLessThan(keptMs);
  });
});

it("HAProxy's default check takes a node out that drains", { timeout: 60_000 }, async () => {
  const [a, b] = await pair();
  const socket = await freePort();
  const haproxy = await stopsLater(
    startHaproxy({
      nodes: [endpointOf(a), endpointOf(b)],
      adjust: (config) => `global\n    stats socket ipv4@127.0.0.1:${socket} level user\n${config}`,
    }),
  );
  const states = async (): Promise<string[]> => {
    const client = connect(socket, "127.0.0.1");
    client.end("show stat\n");
    let text = "";
    for await (const chunk of client) text += String(chunk);
    const rows = text
      .trim()
      .split("\n")
      .map((line) => line.split(","));
    const status = rows[0]!.indexOf("status");
    return rows
      .filter(([, name]) => name!.startsWith("node"))
      .map((row) => `${row[0]} ${row[1]} ${row[status]}`);
  };
  const UP = ["nodes node1 UP", "nodes node2 UP", "api node1 UP", "api node2 UP"];
  await until("all are up", async () => String(await states()) === String(UP));
  const client = await b.client();
  void b.drain();
  await until("the one that drains is down", async () => {
    const now = await states();
    return String(now.filter((state) => state.endsWith("DOWN"))) === "nodes node2 DOWN,api node2 DOWN";
  });
  const { status } = await upgrade(haproxy.wsUrl);
  expect(status).toBe(101);
  client.terminate();
  await b.stop();
});
