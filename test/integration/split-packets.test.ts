/** Requests and frames that arrive in two packets, cut at every byte, or in as many packets as they have bytes. */

import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, JWT_SECRET, startTestNode, token } from "../support/nodes.js";
import { closeRawHttp, RawHttp } from "../support/raw-http.js";
import { startSplittingProxy, type Cut, type SplittingProxy } from "../support/splitting-proxy.js";

/**
 * The binary of uWebSockets.js for Node 20 answers 505 where a request line does not arrive whole, before
 * anything of ours is asked, so that nothing here can mend it. Those for Node 22 and up have no such fault.
 */
const REQUEST_LINES_MUST_BE_WHOLE = process.versions.modules === "115";

const TIMEOUT = { timeout: 120_000 };
const proxies: SplittingProxy[] = [];
afterEach(async () => {
  closeRawHttp();
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  await cleanUp();
});

async function proxyTo(url: string): Promise<SplittingProxy & { url: string }> {
  const proxy = await startSplittingProxy(Number(new URL(url).port));
  proxies.push(proxy);
  return Object.assign(proxy, { url: `http://127.0.0.1:${proxy.port}` });
}

const everyCut = (length: number, from = 0): Cut[] => [
  { everyByteFrom: from },
  ...Array.from({ length: length + 1 }, (_, i) => from + i),
];

function upgradeOf(target: string): string {
  return [
    `GET ${target} HTTP/1.1`,
    "Host: node",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: starling.v1.json",
    "\r\n",
  ].join("\r\n");
}

describe("an upgrade in two packets", TIMEOUT, () => {
  const METHOD = "GET ".length;

  /** What is known to fail: from within the target up to the last byte of the line's end. */
  const isRefused = (cut: Cut, head: string): boolean =>
    REQUEST_LINES_MUST_BE_WHOLE &&
    (typeof cut !== "number" || (cut >= METHOD && cut < head.indexOf("\r\n") + 2));

  async function expectUpgrades(head: string, jwtSecret?: string): Promise<void> {
    const node = await startTestNode({ jwtSecret });
    const proxy = await proxyTo(node.wsUrl);
    const wrong: unknown[] = [];
    for (const cut of everyCut(head.length)) {
      proxy.cut = cut;
      const connection = await RawHttp.to(proxy.url);
      connection.send(head);
      const { status } = await connection.response();
      if (status !== (isRefused(cut, head) ? 505 : 101)) wrong.push({ cut, status });
      else if (status === 101) await connection.received('"type":"welcome"');
      connection.destroy();
    }
    expect(wrong).toEqual([]);
  }

  it("is taken wherever it is cut", () => expectUpgrades(upgradeOf("/")));

  it("is taken with a token that is longer than a segment of Ethernet", async () => {
    const channels = Array.from({ length: 80 }, (_, i) => `channel-${i}`);
    const target = `/?key=room-7&token=${await token({ sub: "ann", channels }, { lifetimeSeconds: 3_600 })}`;
    expect(target.length).toBeGreaterThan(1_460);
    await expectUpgrades(upgradeOf(target), JWT_SECRET);
  });
});

/** A text frame as a client sends it: RFC 6455 5.2, masked. */
function frame(text: string): Buffer {
  const payload = Buffer.from(text);
  const mask = Buffer.from([1, 2, 3, 4]);
  const size = payload.length;
  const head =
    size < 126
      ? Buffer.from([0x81, 0x80 | size])
      : size < 65_536
        ? Buffer.from([0x81, 0x80 | 126, size >> 8, size & 255])
        : Buffer.concat([Buffer.from([0x81, 0x80 | 127, 0, 0, 0, 0]), bigEndian(size)]);
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i % 4]!)]);
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

describe("frames in two packets", TIMEOUT, () => {
  it.each([
    ["of the shortest length", [10, 0]],
    ["of a length in two bytes", [300, 0]],
    ["of a length in eight bytes, cut in the head", [70_000, 40]],
  ] as const)("%s are read wherever they are cut", async (_name, [size, most]) => {
    const node = await startTestNode({ maxFrameBytes: 100_000, messagesPerSecond: 1_000_000 });
    const proxy = await proxyTo(node.wsUrl);
    const head = upgradeOf("/");
    const frames = Buffer.concat([
      frame('{"action":"subscribe","id":1,"channel":"room"}'),
      frame(`{"action":"send","id":2,"channel":"room","content":"${"x".repeat(size)}"}`),
      frame('{"action":"ping","id":3}'),
    ]);
    const cuts = everyCut(most > 0 ? 60 + most : frames.length, head.length);
    for (const cut of most > 0 ? cuts.slice(1) : cuts) {
      proxy.cut = cut;
      const connection = await RawHttp.to(proxy.url);
      connection.send(head);
      expect((await connection.response()).status).toBe(101);
      connection.send(frames);
      await connection.received(`"content":"${"x".repeat(size)}"`);
      await connection.received('"id":3');
      connection.destroy();
    }
  });
});

describe("a request to the API in two packets", TIMEOUT, () => {
  const BODY = '{"channel":"room","content":"hi"}';
  const HEAD = "Host: api\r\nX-API-Key: key\r\nContent-Type: application/json\r\n";

  it.each([
    ["with a length", `POST /v1/publish HTTP/1.1\r\n${HEAD}Content-Length: ${BODY.length}\r\n\r\n${BODY}`],
    [
      "in chunks",
      `POST /v1/publish HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n10\r\n${BODY.slice(0, 16)}\r\n${(BODY.length - 16).toString(16)}\r\n${BODY.slice(16)}\r\n0\r\n\r\n`,
    ],
    ["by HTTP/1.0", `POST /v1/publish HTTP/1.0\r\n${HEAD}Content-Length: ${BODY.length}\r\n\r\n${BODY}`],
  ])("%s is taken wherever it is cut, and so is the next on its connection", async (_name, request) => {
    const node = await startTestNode({ apiKeys: ["key"] });
    const proxy = await proxyTo(node.apiUrl);
    for (const cut of everyCut(request.length)) {
      proxy.cut = cut;
      const connection = await RawHttp.to(proxy.url);
      connection.send(request);
      expect({ cut, ...(await connection.response()) }).toMatchObject({
        status: 200,
        body: '{"channel":"room"}',
      });
      if (!request.includes("HTTP/1.0")) {
        connection.send(request);
        expect((await connection.response()).status).toBe(200);
      }
      connection.destroy();
    }
  });

  it.each([
    [
      "no key",
      `POST /v1/publish HTTP/1.1\r\n${HEAD.replace("key\r", "other\r")}Content-Length: 5\r\n\r\n`,
      401,
    ],
    [
      "two lengths",
      `POST /v1/publish HTTP/1.1\r\n${HEAD}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`,
      400,
    ],
    ["a method in lower case", `get /healthz HTTP/1.1\r\n${HEAD}\r\n`, 400],
  ])("with %s is refused wherever it is cut", async (_name, request, status) => {
    const node = await startTestNode({ apiKeys: ["key"] });
    const proxy = await proxyTo(node.apiUrl);
    for (const cut of everyCut(request.length)) {
      proxy.cut = cut;
      const connection = await RawHttp.to(proxy.url);
      connection.send(request);
      expect({ cut, status: (await connection.response()).status }).toEqual({ cut, status });
      connection.destroy();
    }
  });
});
