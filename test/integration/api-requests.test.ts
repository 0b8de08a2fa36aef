/** The server API's port and the clients' port under requests of every shape, byte by byte. */

import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import { closeRawHttp, RawHttp } from "../support/raw-http.js";

afterEach(async () => {
  closeRawHttp();
  await cleanUp();
});

const KEY = "key-of-the-tests";
const MIB = 1024 * 1024;
const PUBLICATION = JSON.stringify({ channel: "room", content: "hi" });
const keyed = () => startTestNode({ apiKeys: [KEY], metricsPublic: true });

/** A request with Host, the key, JSON as its type and these lines. */
function post(lines: readonly string[], body = "", path = "/v1/publish"): string {
  const head = [
    `POST ${path} HTTP/1.1`,
    "Host: api",
    `Authorization: Bearer ${KEY}`,
    "Content-Type: application/json",
    ...lines,
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

const length = (body: string): string => `Content-Length: ${Buffer.byteLength(body)}`;
const good = post([length(PUBLICATION)], PUBLICATION);
/** What a hidden request would do. */
const HIDDEN = "GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n";

const errorOf = (body: string) => (JSON.parse(body) as { error: { code: string; message: string } }).error;
const errors = (node: InProcessNode, code: string) =>
  node.metric(`starling_api_errors_total{code="${code}"}`);

describe("health checks and proxies", () => {
  it.each([
    ["HAProxy's option httpchk", "OPTIONS / HTTP/1.0\r\n\r\n"],
    ["the same of HTTP/1.1 without Host", "OPTIONS / HTTP/1.1\r\nConnection: close\r\n\r\n"],
    ["OPTIONS * of HTTP/1.1", "OPTIONS * HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n"],
    ["a load balancer that asks for /", "GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n"],
    ["HTTP/1.0 without Host", "GET /readyz HTTP/1.0\r\n\r\n"],
    [
      "nginx's plain proxy_pass",
      "GET /healthz HTTP/1.0\r\nHost: 127.0.0.1:8001\r\nConnection: close\r\n\r\n",
    ],
    ["HTTP/1.1 without Host", "GET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n"],
    ["the absolute form", "GET http://api/readyz HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n"],
  ])("%s is answered 200, and the connection ends", async (_name, request) => {
    const node = await keyed();
    expect(await RawHttp.ask(node.apiUrl, request)).toMatchObject({ status: 200, closed: true });
  });

  it("a publication by HTTP/1.0 is taken, and keeps its connection where the client asks", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    for (let i = 0; i < 2; i++) {
      connection.send(good.replace("HTTP/1.1\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n"));
      expect(await connection.response()).toMatchObject({ status: 200, body: '{"channel":"room"}' });
    }
  });

  it("HEAD is GET without the body", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send("HEAD /healthz HTTP/1.1\r\nHost: api\r\n\r\n");
    const head = await connection.response("HEAD");
    connection.send("GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n");
    const get = await connection.response();
    expect([head.status, head.headers["content-length"]]).toEqual([200, String(get.body.length)]);
  });
});

describe("a connection to the API", () => {
  it("is kept for as long as the option says, and that is told", async () => {
    const node = await startTestNode();
    const kept = await RawHttp.to(node.apiUrl);
    kept.send(HIDDEN);
    expect((await kept.response()).headers["keep-alive"]).toBe("timeout=75");
    const short = await startTestNode({ apiKeepAliveMs: 1_000 });
    const cut = await RawHttp.to(short.apiUrl);
    cut.send(HIDDEN);
    expect((await cut.response()).headers["keep-alive"]).toBe("timeout=1");
    expect(await cut.closed()).toBe(true);
    kept.send(HIDDEN);
    expect((await kept.response()).status).toBe(200);
  });

  it("is served beyond the ten seconds after which idle ones ended before", { timeout: 30_000 }, async () => {
    const node = await startTestNode();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(HIDDEN);
    await connection.response();
    await expect(connection.closed(13_000)).rejects.toThrow("after 13000 ms");
    connection.send(HIDDEN);
    expect((await connection.response()).status).toBe(200);
  });

  it("answers pipelined requests in order", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(good + HIDDEN + good);
    expect((await connection.response()).body).toBe('{"channel":"room"}');
    expect((await connection.response()).body).toBe('{"status":"ok"}');
    expect((await connection.response()).body).toBe('{"channel":"room"}');
  });

  it("has few requests waiting: the first are answered, one is refused, and none behind it is served", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    const request = "GET /healthz HTTP/1.1\r\n\r\n";
    connection.send(request.repeat(40));
    for (let i = 0; i < 32; i++) expect((await connection.response()).status).toBe(200);
    const refused = await connection.response();
    expect(refused).toMatchObject({ status: 503, headers: { connection: "close" } });
    expect(errorOf(refused.body)).toMatchObject({
      code: "overloaded",
      message: expect.stringContaining("limit of pending requests of this connection reached (32)") as string,
    });
    expect(await connection.closed()).toBe(true);
    expect(connection.rest).toBe("");

    // A flood is not read to its end, and whoever floods is not waited for.
    const flood = await RawHttp.to(node.apiUrl);
    flood.send(request.repeat(20_000));
    expect(await flood.closed()).toBe(true);
    expect(await errors(node, "overloaded")).toBe(2);
    await until("the end of all", async () => (await node.get("/healthz")).status === 200);
  });

  it("answers what came before garbage, then refuses the garbage", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(`${good}\0\0\0garbage`);
    expect((await connection.response()).status).toBe(200);
    expect((await connection.response()).status).toBe(400);
    await connection.closed();
    expect(connection.rest).toBe("");
  });

  it("gets the answer that it waits for when the node stops", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(post(["Content-Length: 100"], '{"channel":"room","content":"'));
    // Its head has been read once a later connection was answered.
    await node.get("/healthz");
    const stopped = node.stop();
    connection.send(`${"x".repeat(100 - 29 - 2)}"}`);
    expect((await connection.response()).headers).toMatchObject({ connection: "close" });
    await stopped;
  });
});

describe("the body of a request", () => {
  const NO_KEY = "POST /v1/publish HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n";
  const withKey = (line: string) => NO_KEY.replace("Host:", `${line}\r\nHost:`);

  it.each<[string, string, string, number]>([
    ["no key", NO_KEY, "unauthorized", 401],
    ["another key", withKey("X-API-Key: other"), "unauthorized", 401],
    ["an unknown path", withKey(`X-API-Key: ${KEY}`).replace("/v1/publish", "/v1/nowhere"), "not_found", 404],
    ["a wrong method", withKey(`X-API-Key: ${KEY}`).replace("POST", "PUT"), "method_not_allowed", 405],
    [
      "another type",
      withKey(`X-API-Key: ${KEY}`).replace("application/json", "text/plain"),
      "unsupported_media_type",
      415,
    ],
    ["a compression", withKey(`X-API-Key: ${KEY}\r\nContent-Encoding: gzip`), "unsupported_media_type", 415],
    ["too many bytes announced", withKey(`X-API-Key: ${KEY}`), "too_large", 413],
  ])("with %s is refused by the head alone, and the connection closed", async (_name, head, code, status) => {
    const node = await keyed();
    const announced = code === "too_large" ? 8 * MIB + 1 : 8 * MIB;
    const answer = await RawHttp.ask(node.apiUrl, `${head}Content-Length: ${announced}\r\n\r\n`);
    expect(answer).toMatchObject({ status, closed: true });
    expect(errorOf(answer.body).code).toBe(code);
    expect(await errors(node, code)).toBe(1);
  });

  it("without a key is thrown away, though 40 clients send theirs all the same, and all read 401", async () => {
    const node = await keyed();
    const before = process.memoryUsage();
    let peak = 0;
    const body = Buffer.alloc(8 * MIB, "x");
    await Promise.all(
      Array.from({ length: 40 }, async () => {
        const connection = await RawHttp.to(node.apiUrl);
        connection.send(`${NO_KEY}Content-Length: ${body.length}\r\n\r\n`);
        for (let at = 0; at < body.length; at += MIB) {
          connection.send(body.subarray(at, at + MIB));
          await connection.flushed();
          const now = process.memoryUsage();
          peak = Math.max(peak, now.arrayBuffers + now.external - before.arrayBuffers - before.external);
        }
        expect((await connection.response()).status).toBe(401);
        connection.destroy();
      }),
    );
    // Of the 320 MiB of 40 bodies: both ends are in this process, and what is thrown away waits for its collection.
    expect(peak / MIB).toBeLessThan(240);
    expect(await errors(node, "unauthorized")).toBe(40);
  });

  it("that is small and not wanted costs no connection", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(`${NO_KEY}${length(PUBLICATION)}\r\n\r\n${PUBLICATION}`);
    expect((await connection.response()).status).toBe(401);
    connection.send(`GET /healthz HTTP/1.1\r\nHost: api\r\n${length(HIDDEN)}\r\n\r\n${HIDDEN}`);
    expect((await connection.response()).body).toBe('{"status":"ok"}');
    connection.send(good);
    expect((await connection.response()).body).toBe('{"channel":"room"}');
    expect(connection.rest).toBe("");
  });

  it("is not read beyond the limit, chunked or not, and the client reads 413", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(post(["Transfer-Encoding: chunked"]));
    const chunk = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(65_536, "x"), Buffer.from("\r\n")]);
    for (let i = 0; i < 140; i++) {
      connection.send(chunk);
      await connection.flushed();
    }
    expect(errorOf((await connection.response()).body)).toEqual({
      code: "too_large",
      message: "the body has more than 8388608 bytes, at most 8388608 are allowed",
      temporary: false,
    });
    await connection.closed();
  });

  it("waits with others within a bound: beyond it 503 and Retry-After, and room again once they are gone", async () => {
    const node = await keyed();
    const waiting = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const connection = await RawHttp.to(node.apiUrl);
        connection.send(post([`Content-Length: ${8 * MIB}`], '{"channel":"room"'));
        return connection;
      }),
    );
    await until("no room", async () => {
      const answer = await RawHttp.ask(node.apiUrl, good);
      if (answer.status === 200) return false;
      expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
      expect(errorOf(answer.body)).toEqual({
        code: "overloaded",
        message: `memory limit of request bodies reached (${64 * MIB} bytes): ${64 * MIB} are in use, ${PUBLICATION.length} more were requested`,
        temporary: true,
      });
      return true;
    });
    waiting[0]!.destroy();
    await until("room", async () => (await RawHttp.ask(node.apiUrl, good)).status === 200);
    // A client that left is no fault of the node's.
    expect(await errors(node, "internal")).toBe(0);
  });

  it("is asked for with 100 Continue, but only where it is wanted", async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(post([length(PUBLICATION), "Expect: 100-continue"]));
    expect((await connection.response()).status).toBe(100);
    connection.send(PUBLICATION);
    expect((await connection.response()).status).toBe(200);
    for (const [request, status] of [
      [`${NO_KEY}${length(PUBLICATION)}\r\nExpect: 100-continue\r\n\r\n`, 401],
      [post([`Content-Length: ${9 * MIB}`, "Expect: 100-continue"]), 413],
      [post([length(PUBLICATION), "Expect: 200-ok"]), 417],
    ] as const) {
      expect(await RawHttp.ask(node.apiUrl, request)).toMatchObject({ status, closed: true });
    }
  });

  it("may be chunked, as those of fetch with a stream, of Go and of curl are", async () => {
    const node = await keyed();
    const chunks = `5\r\n${PUBLICATION.slice(0, 5)}\r\n${(PUBLICATION.length - 5).toString(16)}\r\n${PUBLICATION.slice(5)}\r\n0\r\n\r\n`;
    const connection = await RawHttp.to(node.apiUrl);
    for (let i = 0; i < 2; i++) {
      connection.send(post(["Transfer-Encoding: chunked"], chunks));
      expect((await connection.response()).body).toBe('{"channel":"room"}');
    }
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from(PUBLICATION));
        controller.close();
      },
    });
    const response = await fetch(`${node.apiUrl}/v1/publish`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": KEY },
      body: stream,
      duplex: "half",
    } as RequestInit);
    expect(await response.json()).toEqual({ channel: "room" });
  });
});

describe("framing that two servers could read differently", () => {
  it.each<[string, string]>([
    ["an empty length", post(["Content-Length: "], HIDDEN)],
    ["a negative length", post(["Content-Length: -1"], HIDDEN)],
    ["a length with a sign", post([`Content-Length: +${HIDDEN.length}`], HIDDEN)],
    ["a length in hexadecimal", post(["Content-Length: 0x0"], HIDDEN)],
    ["a list of lengths", post(["Content-Length: 0, 0"], HIDDEN)],
    ["two lengths", post(["Content-Length: 0", `Content-Length: ${HIDDEN.length}`], HIDDEN)],
    ["the same length twice", post(["Content-Length: 0", "Content-Length: 0"], HIDDEN)],
    ["a length and chunks", post(["Content-Length: 5", "Transfer-Encoding: chunked"], `0\r\n\r\n${HIDDEN}`)],
    ["chunks and a length", post(["Transfer-Encoding: chunked", "Content-Length: 5"], `0\r\n\r\n${HIDDEN}`)],
    ["an empty coding", post(["Transfer-Encoding: "], `0\r\n\r\n${HIDDEN}`)],
    ["chunks twice", post(["Transfer-Encoding: chunked, chunked"], `0\r\n\r\n${HIDDEN}`)],
    [
      "chunks in two headers",
      post(["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], `0\r\n\r\n${HIDDEN}`),
    ],
    ["another coding first", post(["Transfer-Encoding: gzip, chunked"], `0\r\n\r\n${HIDDEN}`)],
    ["identity", post(["Transfer-Encoding: identity"], HIDDEN)],
    ["another coding last", post(["Transfer-Encoding: chunked, identity"], HIDDEN)],
    ["a coding with a space before the colon", post(["Transfer-Encoding : chunked"], `0\r\n\r\n${HIDDEN}`)],
    ["an unknown coding", post(["Transfer-Encoding: xchunked"], `0\r\n\r\n${HIDDEN}`)],
    ["bytes behind the last chunk", post(["Transfer-Encoding: chunked"], `0\r\nXX${HIDDEN}`)],
    ["a chunk longer than it says", post(["Transfer-Encoding: chunked"], `1\r\n{}0\r\n\r\n${HIDDEN}`)],
    ["a chunk size with a sign", post(["Transfer-Encoding: chunked"], `+2\r\n{}\r\n0\r\n\r\n${HIDDEN}`)],
    [
      "a chunk size that overflows",
      post(["Transfer-Encoding: chunked"], `10000000000000002\r\n{}\r\n0\r\n\r\n${HIDDEN}`),
    ],
    ["lines that end in LF alone", post([]).replaceAll("\r\n", "\n") + HIDDEN],
    ["a CR within a header", post(["X: a\rTransfer-Encoding: chunked"], `0\r\n\r\n${HIDDEN}`)],
    ["a NUL within a header", post(["X: a\0b"], HIDDEN)],
    ["a method in lower case", "get /healthz HTTP/1.1\r\nHost: api\r\n\r\n"],
    ["two hosts", "GET /healthz HTTP/1.1\r\nHost: api\r\nHost: api\r\n\r\n"],
    ["no version", "GET /healthz\r\n\r\n"],
    ["an unknown version", "GET /healthz HTTP/3.0\r\nHost: api\r\n\r\n"],
    ["a space in the target", "GET /health z HTTP/1.1\r\nHost: api\r\n\r\n"],
    ["another protocol", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ])("%s is answered 400 once, and nothing behind it is served", async (_name, request) => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send(request);
    const { status, headers, body } = await connection.response();
    expect({ status, code: errorOf(body).code }).toEqual({ status: 400, code: "bad_request" });
    expect(headers).toMatchObject({
      "content-type": "application/json; charset=utf-8",
      connection: "close",
    });
    await connection.closed();
    connection.send(HIDDEN);
    expect(connection.rest).toBe("");
    expect(await errors(node, "bad_request")).toBe(1);
  });

  it.each([
    ["101 header lines", Array.from({ length: 100 }, (_, i) => `X-${i}: 1\r\n`).join("")],
    ["one line of 17,000 bytes", `X-Long: ${"x".repeat(17_000)}\r\n`],
    [
      "many lines of 17,000 bytes",
      Array.from({ length: 70 }, (_, i) => `X-${i}: ${"x".repeat(240)}\r\n`).join(""),
    ],
  ])("%s are answered 431", async (_name, lines) => {
    const node = await keyed();
    const answer = await RawHttp.ask(node.apiUrl, `GET /healthz HTTP/1.1\r\nHost: api\r\n${lines}\r\n`);
    expect(answer).toMatchObject({ status: 431, closed: true });
    expect(errorOf(answer.body).code).toBe("headers_too_large");
    expect(await errors(node, "headers_too_large")).toBe(1);
  });

  it("100 header lines are served", async () => {
    const node = await keyed();
    const lines = Array.from({ length: 99 }, (_, i) => `X-${i}: 1\r\n`).join("");
    const answer = await RawHttp.ask(node.apiUrl, `GET /healthz HTTP/1.1\r\nHost: api\r\n${lines}\r\n`);
    expect(answer.status).toBe(200);
  });

  it("a head that does not come to its end is answered 408", { timeout: 30_000 }, async () => {
    const node = await keyed();
    const connection = await RawHttp.to(node.apiUrl);
    connection.send("GET /healthz HTTP/1.1\r\nHost");
    await connection.closed(20_000);
    expect((await connection.response()).status).toBe(408);
  });

  it("CONNECT is refused, and an upgrade is no more than a request", async () => {
    const node = await keyed();
    expect(await RawHttp.ask(node.apiUrl, "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")).toMatchObject({
      status: 400,
      closed: true,
    });
    const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    const request = `GET /healthz HTTP/1.1\r\nHost: api\r\n${upgrade}\r\n`;
    expect((await RawHttp.ask(node.apiUrl, request)).status).toBe(200);
  });
});

describe("plain requests on the clients' port", () => {
  it.each([
    ["a method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
    ["an empty length", `GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n${HIDDEN}`],
    ["a body", `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello${HIDDEN}`],
    ["chunks", `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`],
    [
      "chunks twice",
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
    ],
  ])("with %s are refused, and nothing behind them is served", async (_name, request) => {
    const node = await startTestNode();
    const connection = await RawHttp.to(node.wsUrl);
    connection.send(request);
    // Where a second request came in the same packet uWebSockets.js ends the connection without an answer.
    const answer = await connection.response().catch(() => undefined);
    if (answer !== undefined || !request.endsWith(HIDDEN)) expect(answer?.status).toBe(400);
    await connection.closed();
    expect(connection.rest).not.toContain("HTTP/1.1 2");
    expect(connection.rest).not.toContain("HTTP/1.1 404");
  });
});
