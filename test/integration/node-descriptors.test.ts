import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createCertificate } from "../support/certificate.js";
import { cleanUp, spawnNode, startTestNode, until, type TestNode } from "../support/nodes.js";
import { closeRawHttp, RawHttp } from "../support/raw-http.js";
import { refusal } from "../support/raw-client.js";

const sockets = new Set<Socket>();
afterEach(async () => {
  closeSockets();
  closeRawHttp();
  await cleanUp();
});

function closeSockets(): void {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
}

/** Bare TCP connections; resolves once all are connected. */
async function flood(url: string, count: number, localAddress = "127.0.0.1", text = ""): Promise<Socket[]> {
  const { hostname, port } = new URL(url);
  const opened: Socket[] = [];
  for (let i = 0; i < count; i++) {
    const socket = connect({ host: hostname, port: Number(port), localAddress });
    socket.on("error", () => undefined); // "close" follows
    sockets.add(socket);
    opened.push(socket);
    await once(socket, "connect");
    if (text !== "") socket.write(text);
  }
  return opened;
}

const rejects = (node: TestNode, reason: string): Promise<number> =>
  node.metric(`starling_rejects_total{reason="${reason}"}`);
const idle = (node: TestNode): Promise<number> => node.metric("starling_idle_sockets");
const cpuSeconds = (node: TestNode): Promise<number> => node.metric("process_cpu_seconds_total");

describe("a node whose file limit is reached by sockets that ask for nothing", () => {
  it("closes what is too many, answers its API, costs no CPU, and serves again afterwards", async () => {
    const node = await spawnNode({ sharePerIpPercent: 100 }, { fileLimit: 400 });
    const client = await node.client();
    // Half of the head of a request, as slow as it gets.
    const bare = [
      ...(await flood(node.wsUrl, 300)),
      ...(await flood(node.wsUrl, 300, "127.0.0.2", "GET / HTTP/1.1\r\nHo")),
    ];
    await until("too many were closed", async () => (await rejects(node, "sockets_full")) >= 600 - 250);
    // 200 connections, and 50 more that can be told that those are there.
    expect(await idle(node)).toBeLessThan(250);
    expect(await node.get("/healthz")).toMatchObject({ status: 200 });
    await client.do("ping");
    const before = await cpuSeconds(node);
    const startedAtMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const seconds = (performance.now() - startedAtMs) / 1000;
    // On a machine that is idle it took more than half of the time when it waited at the limit.
    expect(((await cpuSeconds(node)) - before) / seconds).toBeLessThan(0.25);
    for (const socket of bare) socket.destroy();
    await until("all of them are gone", async () => (await idle(node)) === 0);
    for (let i = 0; i < 50; i++) await node.client();
    expect(await node.get("/healthz")).toMatchObject({ status: 200 });
  });

  it("keeps some for itself from clients of the API too", async () => {
    const node = await spawnNode({}, { fileLimit: 400 });
    const bare = await flood(node.apiUrl, 240);
    await until("too many were closed", () => bare.filter(({ destroyed }) => destroyed).length >= 190);
    await node.client();
    closeSockets();
    await until("it answers", () => node.get("/healthz").catch(() => undefined));
    expect(await rejects(node, "api_sockets_full")).toBeGreaterThanOrEqual(190);
  });

  it("says at the start which limits do not fit", async () => {
    const node = await spawnNode({ maxConnections: 1000, sharePerIpPercent: 100 }, { fileLimit: 400 });
    expect(node.log).toMatch(
      /maxConnections is 1000 and this process may open 400 files, 200 of them for Redis and the API: raise the limit \(ulimit -n\) to 1200 or lower maxConnections to 200/,
    );
    await flood(node.wsUrl, 400);
    expect(await node.get("/healthz")).toMatchObject({ status: 200 });
    expect(await rejects(node, "sockets_full")).toBeGreaterThan(0);
  });

  it("still tells who is one too many", async () => {
    const node = await spawnNode({}, { fileLimit: 400 });
    for (let i = 0; i < 200; i++) await node.client();
    expect(await refusal(node.wsUrl)).toMatchObject({
      status: 503,
      body: "connection limit of this node reached (maxConnections 200)\n",
    });
  });
});

describe("sockets that are no WebSocket yet", () => {
  it("are limited apart, and one address leaves the others theirs", async () => {
    const node = await startTestNode({ maxUnauthenticated: 20 });
    await flood(node.wsUrl, 30, "127.0.0.2");
    // Half of the places for whoever comes first, and the share of one address.
    await until("refused", async () => (await rejects(node, "sockets_idle_ip")) === 30 - 10 - 2);
    expect(await idle(node)).toBe(12);
    for (let i = 0; i < 20; i++) await node.client({ localAddress: `127.0.1.${i}` });
    for (let i = 4; i < 14; i++) await flood(node.wsUrl, 1, `127.0.0.${i}`);
    await until("full", async () => (await rejects(node, "sockets_idle_full")) === 2);
    expect(await idle(node)).toBe(20);
    expect(await node.metric("starling_connections")).toBe(20);
    closeSockets();
    await until("empty", async () => (await idle(node)) === 0);
  });

  it("are not kept by asking again and again while they are scarce", async () => {
    const node = await startTestNode({ maxUnauthenticated: 20 });
    const url = node.wsUrl.replace("ws:", "http:");
    const request = "GET / HTTP/1.1\r\nHost: node\r\n\r\n";
    const kept = await RawHttp.to(url);
    for (let i = 0; i < 2; i++) {
      kept.send(request);
      expect((await kept.response()).headers["connection"]).toBeUndefined();
    }
    await flood(node.wsUrl, 10, "127.0.0.2");
    await until("all are there", async () => (await idle(node)) === 11);
    kept.send(request);
    expect((await kept.response()).headers["connection"]).toBe("close");
    expect(await kept.closed()).toBe(true);
    // Half of them are kept, so that nobody loses theirs for less.
    const other = await RawHttp.to(url);
    closeSockets();
    await until("all but one are gone", async () => (await idle(node)) === 1);
    other.send(request);
    expect((await other.response()).headers["connection"]).toBeUndefined();
  });

  it("are counted right whatever becomes of them, under TLS as well", async () => {
    const { certFile, keyFile, pem } = createCertificate();
    const tls = { tlsCertFile: certFile, tlsKeyFile: keyFile };
    for (const options of [{}, tls]) {
      const node = await startTestNode({
        maxConnections: 1,
        maxUnauthenticated: 8,
        sharePerIpPercent: 100,
        ...options,
      });
      const client = await node.client({ ca: pem });
      expect(await refusal(node.wsUrl, { ca: pem })).toMatchObject({ status: 503 });
      await flood(node.wsUrl, 12);
      await until("four are refused", async () => (await rejects(node, "sockets_idle_full")) === 4);
      expect(await idle(node)).toBe(8);
      client.terminate();
      closeSockets();
      await until("none is left", async () => (await idle(node)) === 0);
      await until("connections", async () => (await node.metric("starling_connections")) === 0);
      await node.client({ ca: pem });
      expect(await idle(node)).toBe(0);
    }
  });
});
