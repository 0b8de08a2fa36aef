import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { matching } from "../support/matching.js";
import { cleanUp, spawnNode, startTestNode, until, type TestNode } from "../support/nodes.js";
import { RawClient, refusal } from "../support/raw-client.js";

afterEach(cleanUp);

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const HANDSHAKE = {
  Upgrade: "websocket",
  Connection: "Upgrade",
  "Sec-WebSocket-Key": KEY,
  "Sec-WebSocket-Version": "13",
};

/** Writes bytes to a port. @returns all that came back once the other side closed or `enough` is in it */
async function converse(url: string, text: string, enough: RegExp | undefined = undefined): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connectTcp(Number(port), hostname);
  socket.setTimeout(5000, () => socket.destroy(new Error("no answer in 5 s")));
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString();
    if (enough?.test(received) === true) socket.destroy();
  });
  socket.write(text);
  await once(socket, "close");
  return received;
}

/** @param last  more lines behind the others */
function handshake(headers: Record<string, string | undefined>, method = "GET", last = ""): string {
  const lines = Object.entries({ ...HANDSHAKE, ...headers })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} / HTTP/1.1\r\nHost: test\r\n${lines.join("")}${last}\r\n`;
}

const rejects = (node: TestNode, reason: string): Promise<number> =>
  node.metric(`starling_rejects_total{reason="${reason}"}`);

describe("an upgrade", () => {
  it("is taken on any path, with the accept key of RFC 6455", async () => {
    const node = await startTestNode();
    const answer = await converse(node.wsUrl, handshake({}), /\r\n\r\n/);
    expect(answer).toMatch(/^HTTP\/1\.1 101 /);
    expect(answer).toMatch(/sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i);
    expect(answer).not.toMatch(/sec-websocket-extensions/i);
    for (const path of ["/", "/ws", "/a/b/c?x=1"]) await node.client({ path });
  });

  it.each<[string, Record<string, string | undefined>, number, string]>([
    ["without the Upgrade header", { Upgrade: undefined }, 400, "upgrade"],
    ["to something else", { Upgrade: "h2c" }, 400, "upgrade"],
    ["without a version", { "Sec-WebSocket-Version": undefined }, 426, "version"],
    ["of version 8", { "Sec-WebSocket-Version": "8" }, 426, "version"],
    ["with a key that is no base64", { "Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!==" }, 400, "key"],
    ["with a key that is too short", { "Sec-WebSocket-Key": "dGhl" }, 400, "key"],
    ["without a key", { "Sec-WebSocket-Key": undefined }, 400, "key"],
    [
      "that offers only foreign subprotocols",
      { "Sec-WebSocket-Protocol": "mqtt, stomp" },
      400,
      "subprotocol",
    ],
  ])("%s is refused, counted, and the connection closed", async (_what, headers, status, reason) => {
    const node = await startTestNode();
    const answer = await converse(node.wsUrl, handshake(headers));
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    if (status === 426) expect(answer).toMatch(/sec-websocket-version: 13\r\n/i);
    expect(await rejects(node, reason)).toBe(1);
    expect(await node.metric("starling_connections")).toBe(0);
  });

  it.each(["POST", "get", "OPTIONS"])("by %s is refused", async (method) => {
    const node = await startTestNode();
    const answer = await converse(node.wsUrl, handshake({ "Content-Length": "0" }, method));
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(await rejects(node, "upgrade")).toBe(1);
    expect(await node.metric("starling_connections")).toBe(0);
  });

  it("is told which subprotocol was chosen: the first offered that is spoken", async () => {
    const node = await startTestNode();
    const client = await node.client({ subprotocol: ["chat", "starling.v1.msgpack", "starling.v1.json"] });
    expect(client.subprotocol).toBe("starling.v1.msgpack");
  });

  it("offers subprotocols in as many headers as it likes", async () => {
    const node = await startTestNode();
    const offer = (...headers: string[]) => {
      const lines = headers.map((names) => `Sec-WebSocket-Protocol: ${names}\r\n`);
      return converse(node.wsUrl, handshake({}, "GET", lines.join("")), /\r\n\r\n/);
    };
    expect(await offer("chat", "mqtt, starling.v1.msgpack")).toMatch(
      /^HTTP\/1\.1 101 [^]*\r\nSec-WebSocket-Protocol: starling\.v1\.msgpack\r\n/i,
    );
    expect(await offer("starling.v1.json", "starling.v1.msgpack")).toMatch(
      /^HTTP\/1\.1 101 [^]*\r\nSec-WebSocket-Protocol: starling\.v1\.json\r\n/i,
    );
    expect(await offer("chat", "mqtt")).toMatch(/^HTTP\/1\.1 400 [^]*unsupported subprotocol "chat, mqtt"/);
  });

  it.each(["Sec-WebSocket-Key: ZGlmZmVyZW50IG5vbmNlIQ==", "Sec-WebSocket-Version: 8", "Upgrade: h2c"])(
    "goes by the first header where a second one says %s",
    async (second) => {
      const node = await startTestNode();
      const answer = await converse(node.wsUrl, handshake({}, "GET", `${second}\r\n`), /\r\n\r\n/);
      expect(answer).toMatch(/^HTTP\/1\.1 101 /);
      // Of the first key (RFC 6455 1.3).
      expect(answer).toContain("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    },
  );

  it("without an Origin is from no browser: let in, unless originRequired", async () => {
    const node = await startTestNode({ origins: ["https://*.app.example"] });
    await node.client();
    await node.client({ origin: "https://a.b.App.example" });
    expect(await refusal(node.wsUrl, { origin: "https://app.example" })).toMatchObject({
      status: 403,
      body: 'origin "https://app.example" is not allowed\n',
    });
    const strict = await startTestNode({ originRequired: true });
    expect(await refusal(strict.wsUrl)).toMatchObject({
      status: 403,
      body: "an Origin header is required\n",
    });
    await strict.client({ origin: "https://anything.example" });
  });

  it("from an origin that is not listed gets 403, compared exactly", async () => {
    const node = await startTestNode({ origins: ["https://app.example", "http://localhost:3000"] });
    for (const origin of ["https://app.example", "http://localhost:3000"]) await node.client({ origin });
    for (const origin of [
      "https://app.example.evil.example",
      "http://app.example",
      "https://app.example:8443",
      "null",
    ]) {
      expect(await refusal(node.wsUrl, { origin })).toMatchObject({ status: 403 });
    }
    expect(await rejects(node, "origin")).toBe(4);
  });

  it("to a full node gets 503 with a time to come back, and is taken once somebody left", async () => {
    const node = await startTestNode({ maxConnections: 2 });
    const [first] = [await node.client(), await node.client()];
    const refused = await refusal(node.wsUrl);
    expect(refused).toMatchObject({
      status: 503,
      body: "connection limit of this node reached (maxConnections 2)\n",
    });
    expect(refused.headers["retry-after"]).toBe("5");
    expect(await rejects(node, "node_full")).toBe(1);
    first.close(1000);
    await until("a free place", async () => (await node.metric("starling_connections")) === 1);
    await node.client();
  });

  it("over the number of its address gets 429, and is taken once one of them left", async () => {
    const node = await startTestNode({ maxConnectionsPerIp: 2 });
    const clients = [await node.client(), await node.client()];
    // What a client says about its address is not believed.
    const headers = { "x-forwarded-for": "203.0.113.7" };
    expect(await refusal(node.wsUrl, { headers })).toMatchObject({
      status: 429,
      body: matching(/127\.0\.0\.1/),
    });
    expect(await rejects(node, "ip_full")).toBe(1);
    clients[0]!.terminate();
    await until("a free place", async () => (await node.metric("starling_connections")) === 1);
    await node.client();
    expect(await refusal(node.wsUrl)).toMatchObject({ status: 429 });
  });

  it("while the node drains gets 429 with a time to come back", async () => {
    const node = await startTestNode({ drainMs: 60_000 });
    const clients = [await node.client(), await node.client(), await node.client()];
    void node.drain();
    const refused = await refusal(node.wsUrl);
    expect(refused).toMatchObject({ status: 429, body: "this node is draining: connect to another\n" });
    expect(refused.headers["retry-after"]).toBe("1");
    expect(await node.get("/readyz")).toMatchObject({
      status: 503,
      body: { ready: false, reasons: ["draining"] },
    });
    for (const client of clients) expect((await client.closed()).code).toBe(1012);
  });

  it("with a token of 3,000 characters in the query is read whole", async () => {
    const node = await startTestNode();
    const client = await RawClient.open(node.wsUrl, { path: `/?token=${"x".repeat(3000)}` });
    expect(await client.next("error")).toMatchObject({ code: "token_invalid" });
  });
});

describe("a port", () => {
  it("that is in use is an error that names it, on either listener, and nothing else is left running", async () => {
    const first = await startTestNode();
    const port = Number(new URL(first.wsUrl).port);
    const apiPort = Number(new URL(first.apiUrl).port);
    await expect(startTestNode({ port })).rejects.toThrow(
      `cannot listen on 127.0.0.1:${port} (host, port): the port is in use`,
    );
    await expect(startTestNode({ apiPort })).rejects.toThrow(
      `cannot listen on 127.0.0.1:${apiPort} (apiHost, apiPort): listen EADDRINUSE`,
    );
    // Sharing it would take some of the clients.
    for (let i = 0; i < 20; i++) expect((await first.client()).welcome["node"]).toBe(first.id);
  });

  it("of another process is not shared either: the command says so and ends", async () => {
    const first = await startTestNode();
    const port = Number(new URL(first.wsUrl).port);
    await expect(spawnNode({ port })).rejects.toThrow(new RegExp(`127\\.0\\.0\\.1:${port}.*in use`));
  });
});

describe("a request that is no upgrade", () => {
  it("is answered as HTTP on the port for WebSockets", async () => {
    const node = await startTestNode();
    const response = await fetch(node.wsUrl.replace("ws:", "http:"));
    expect(response.status).toBe(404);
    await response.text();
  });
});

describe("a request whose length is told twice", () => {
  const health = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
  const cases = [
    ["two Content-Lengths", "Content-Length: 0\r\nContent-Length: 44\r\n"],
    ["two equal Content-Lengths", "Content-Length: 0\r\nContent-Length: 0\r\n"],
    ["Content-Length and Transfer-Encoding", "Content-Length: 44\r\nTransfer-Encoding: chunked\r\n"],
    ["Transfer-Encoding and Content-Length", "Transfer-Encoding: chunked\r\nContent-Length: 44\r\n"],
  ] as const;
  const request = (lengths: string): string => `POST /v1/publish HTTP/1.1\r\nHost: test\r\n${lengths}\r\n`;

  it.each(cases)("%s: 400, and the connection is closed", async (_what, lengths) => {
    const node = await startTestNode();
    for (const url of [node.apiUrl, node.wsUrl]) {
      const answer = await converse(url, request(lengths));
      expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 400"]);
    }
  });

  it.each(cases)(
    "%s: what is smuggled behind it in the same packet is not answered",
    async (_what, lengths) => {
      const node = await startTestNode();
      for (const url of [node.apiUrl, node.wsUrl]) {
        for (const smuggled of [health, health + health]) {
          const answer = await converse(url, request(lengths) + smuggled);
          expect(answer.match(/HTTP\/1\.1 \d+/g) ?? []).not.toContain("HTTP/1.1 200");
          expect(answer.match(/HTTP\/1\.1 \d+/g)?.length ?? 0).toBeLessThanOrEqual(1);
        }
      }
      expect((await node.get("/healthz")).status).toBe(200);
    },
  );

  it("many that are pipelined to the clients' port are answered a few, and then no more", async () => {
    const node = await startTestNode();
    const socket = connectTcp(Number(new URL(node.wsUrl).port), "127.0.0.1");
    let answers = 0;
    socket.on("data", (chunk) => (answers += chunk.toString().match(/HTTP\/1\.1/g)?.length ?? 0));
    const closed = once(socket, "close");
    socket.on("error", () => undefined); // "close" follows
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000));
    await closed;
    expect(answers).toBeLessThan(100);
    const both = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
    const answer = await converse(node.wsUrl, both, /HTTP\/1\.1[^]*HTTP\/1\.1/);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toHaveLength(2);
  });

  it("two requests with one length each are both served, pipelined", async () => {
    const node = await startTestNode();
    const answer = await converse(node.apiUrl, health + health, /HTTP[^]*HTTP[^]*\}/);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200"]);
  });
});

describe("a plain request for text", () => {
  const ask = (node: TestNode, path: string, headers: Record<string, string> = {}) =>
    fetch(`${node.wsUrl.replace("ws:", "http:")}${path}`, { headers: { accept: "text/plain", ...headers } });

  it("is told what an upgrade of the same URL would be refused for, readable for every origin", async () => {
    const node = await startTestNode({ origins: ["https://example.com"] });
    for (const [path, origin, status, line] of [
      ["/?app=shpo", "https://example.com", 404, 'unknown app "shpo"'],
      ["/", "https://example.org", 403, 'origin "https://example.org" is not allowed'],
      ["/any", "https://example.com", 426, "WebSockets are served here"],
    ] as const) {
      const answer = await ask(node, path, { origin });
      expect([answer.status, await answer.text()]).toEqual([status, `${line}\n`]);
      expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    }
    expect(await rejects(node, "app")).toBe(0);
    expect(await rejects(node, "origin")).toBe(0);
  });

  it("is another's where more than text is wanted", async () => {
    const node = await startTestNode();
    const answer = await ask(node, "/?app=shpo", { accept: "text/html,text/plain" });
    expect(await answer.text()).toContain("this port serves WebSockets");
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  });
});
