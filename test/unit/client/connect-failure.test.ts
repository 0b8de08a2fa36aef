import { once } from "node:events";
import { inspect } from "node:util";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { WebSocket } from "ws";
import { connect, type WebSocketConstructor } from "../../../src/client/index.js";
import { Mute } from "../../support/mute-websocket.js";
import { startClient, startServer, until } from "./harness.js";

const own = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
const KINDS: [string, WebSocketConstructor][] = [
  ["the class of ws", WebSocket],
  ["one that tells nothing", Mute],
  // From Node 22 on.
  ...(own === undefined ? [] : [["Node's own", own] as [string, WebSocketConstructor]]),
];

const servers = new Map<number, Server>();
let closedPort = 0;
const portOf = (status: number): number => (servers.get(status)!.address() as AddressInfo).port;

beforeAll(async () => {
  for (const status of [200, 404, 502, 403, 426]) {
    const text = { "content-type": "text/plain; charset=utf-8", connection: "close" };
    const server = createServer((_, response) => response.writeHead(status, text).end("no such app\nmore"));
    server.on("upgrade", (_, socket) =>
      socket.end(`HTTP/1.1 ${status === 200 ? 400 : status} No\r\ncontent-length: 0\r\n\r\n`),
    );
    await once(server.listen(0, "127.0.0.1"), "listening");
    servers.set(status, server);
  }
  const gone = createServer();
  await once(gone.listen(0, "127.0.0.1"), "listening");
  closedPort = (gone.address() as AddressInfo).port;
  gone.close();
});
afterAll(() => {
  for (const server of servers.values()) server.closeAllConnections();
  for (const server of servers.values()) server.close();
});

afterEach(() => vi.unstubAllGlobals());

/** Refuses WebSockets, and keeps what it is asked over HTTP; `left` counts what was ended before its answer. */
async function startAsked(
  answer: (response: ServerResponse) => void,
): Promise<{ port: number; asked: IncomingMessage[]; left: () => number }> {
  const asked: IncomingMessage[] = [];
  let left = 0;
  const server = createServer((request, response) => {
    asked.push(request);
    response.on("close", () => (left += Number(!response.writableFinished)));
    answer(response);
  });
  server.on("upgrade", (_, socket) => socket.end("HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked, left: () => left };
}

describe.each(KINDS)("a failed connection, by %s,", (_, kind) => {
  it.each<[string, () => string, RegExp, number | undefined]>([
    ["refused", () => `ws://127.0.0.1:${closedPort}/`, /: ECONNREFUSED$/, undefined],
    ["unknown host", () => "ws://no-such-host.invalid/", /: (ENOTFOUND|EAI_AGAIN)$/, undefined],
    ["404", () => `ws://127.0.0.1:${portOf(404)}/`, /: HTTP 404(: no such app)?$/, 404],
    ["502", () => `ws://127.0.0.1:${portOf(502)}/`, /: HTTP 502(: no such app)?$/, 502],
    ["403", () => `ws://127.0.0.1:${portOf(403)}/`, /: HTTP 403(: no such app)?$/, 403],
    [
      "426",
      () => `ws://127.0.0.1:${portOf(426)}/`,
      /: HTTP 426(: no such app)? \(the URL is right: does each proxy pass Upgrade and Connection on\?\)$/,
      426,
    ],
    [
      "TLS to plain",
      () => `wss://127.0.0.1:${portOf(404)}/`,
      /: \w*(EPROTO|SSL)\w* \(no TLS is spoken there: is it ws:\/\/\?\)$/,
      undefined,
    ],
  ])("is told with its URL and its cause: %s", async (_name, url, cause, status) => {
    const { errors, changes } = startClient(url(), { WebSocket: kind });
    await until(() => errors.length === 1);
    const [error] = errors;
    expect(error).toMatchObject({ code: "connect_failed", temporary: true, status });
    expect(error!.message.startsWith(`could not connect to ${url()}: `)).toBe(true);
    expect(error!.message).toMatch(cause);
    expect(changes[0]).toMatchObject({ state: "waiting", reason: { code: "connect_failed" } });
  });
});

describe("a failed connection", () => {
  it("is told as one to HTTP where only the WebSocket is refused", async () => {
    const { errors } = startClient(`ws://127.0.0.1:${portOf(200)}/`, {
      WebSocket: Mute,
    });
    await until(() => errors.length === 1);
    expect(errors[0]!.message).toContain("HTTP is served there (status 200), but the WebSocket was refused");
  });

  it("is told once for each cause, until one succeeds", async () => {
    const server = await startServer();
    const port = Number(new URL(server.url).port);
    const { client, clock, errors, changes } = startClient(server.url);
    await until(() => client.state === "connected");
    await server.stop();
    for (let attempt = 1; attempt <= 3; attempt++) {
      await until(() => changes.filter(({ state }) => state === "waiting").length === attempt);
      clock.advance(30_000);
    }
    await until(() => changes.filter(({ state }) => state === "waiting").length === 4);
    expect(errors.map(({ message }) => message)).toEqual([
      `could not connect to ws://127.0.0.1:${port}/: ECONNREFUSED`,
    ]);
  });

  it("tells nothing behind close(), and asks nothing", async () => {
    const { port: refusing, asked } = await startAsked(() => undefined);
    for (const [port, kind] of [[closedPort, WebSocket] as const, [refusing, Mute] as const]) {
      const { client, errors } = startClient(`ws://127.0.0.1:${port}/`, { WebSocket: kind });
      client.on("state", ({ state }) => state === "waiting" && client.close());
      await until(() => client.state === "closed");
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect([errors, asked]).toEqual([[], []]);
    }
  });

  it("is no longer asked about once the client is closed", async () => {
    const { port, asked, left } = await startAsked(() => undefined);
    const { client, errors } = startClient(`ws://127.0.0.1:${port}/`, { WebSocket: Mute });
    await until(() => asked.length === 1);
    client.close();
    await until(() => left() === 1);
    expect(errors).toEqual([]);
  });

  it("is no longer asked about once another attempt succeeded", async () => {
    const { port, asked, left } = await startAsked(() => undefined);
    const urls = [`ws://127.0.0.1:${port}/`, (await startServer()).url];
    const { client, clock, errors } = startClient(urls, { WebSocket: Mute });
    await until(() => asked.length === 1);
    clock.advance(1_000);
    await until(() => client.state === "connected" && left() === 1);
    expect(errors).toEqual([]);
  });

  it("leaves the rest of an answer unread", async () => {
    const { port, left } = await startAsked((response) => void response.writeHead(200).write("endless"));
    const { errors } = startClient(`ws://127.0.0.1:${port}/`, { WebSocket: Mute });
    await until(() => errors.length === 1 && left() === 1);
  });

  it.each([false, true])(
    "is told as one without an answer where none comes; in a page: %s",
    async (isPage) => {
      if (isPage) vi.stubGlobal("document", {});
      const { port, asked } = await startAsked(() => undefined);
      const { clock, errors } = startClient(`ws://127.0.0.1:${port}/`, { WebSocket: Mute });
      await until(() => asked.length === 1);
      clock.advance(3_000);
      await until(() => errors.length === 1);
      expect(errors[0]!.message).toContain("/: no answer within 3000 ms");
    },
  );

  it("is told as the device's while it is offline, and is asked about later", async () => {
    vi.stubGlobal("navigator", { onLine: false });
    const { clock, errors, changes } = startClient(`ws://127.0.0.1:${portOf(404)}/`, { WebSocket: Mute });
    await until(() => errors.length === 1);
    const offline = expect.stringContaining("/: this device is offline") as string;
    expect(errors[0]!.message).toEqual(offline);
    expect(changes[0]).toMatchObject({ reason: { message: offline } });
    vi.stubGlobal("navigator", { onLine: true });
    clock.advance(1_000);
    await until(() => errors.length === 2);
    expect(errors[1]).toMatchObject({ status: 404 });
  });

  it("does not show the token that the URL has", async () => {
    const { errors } = startClient(`ws://127.0.0.1:${closedPort}/?token=abc.def&app=shop`);
    await until(() => errors.length === 1);
    expect(errors[0]!.message).toContain(`:${closedPort}/?token=...&app=shop: ECONNREFUSED`);
  });

  it("is asked about without what is secret in its URL", async () => {
    const { port, asked } = await startAsked((response) => void response.writeHead(404).end());
    const url = `ws://ann:secret@127.0.0.1:${port}/?access_token=abc.def&app=shop&TOKEN=abc.def`;
    const { errors } = startClient(url, { WebSocket: Mute });
    await until(() => errors.length === 1);
    expect(asked).toMatchObject([{ url: "/?access_token=...&app=shop&TOKEN=..." }]);
    expect(asked[0]!.headers).not.toHaveProperty("authorization");
    expect(inspect(errors[0], { depth: 10 })).not.toMatch(/secret|abc\.def/);
  });

  it("brings neither the socket along nor what stands before the host", async () => {
    const { errors } = startClient(`ws://ann:secret@127.0.0.1:${closedPort}/?TOKEN=abc.def`);
    await until(() => errors.length === 1);
    expect(inspect(errors[0], { depth: 10 })).not.toMatch(/secret|abc\.def/);
  });

  it("is reported when the client may be closed for it", async () => {
    const { client, clock, changes } = startClient(`ws://127.0.0.1:${closedPort}/`);
    client.on("error", () => client.close());
    await until(() => client.state === "closed");
    clock.advance(60_000);
    expect(client.state).toBe("closed");
    expect(changes.map(({ state }) => state)).toEqual(["waiting", "closed"]);
  });

  it("is one line on the console where nobody listens, without a stack", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const client = connect(`ws://127.0.0.1:${closedPort}/`, { WebSocket, backoff: { baseMs: 1, capMs: 1 } });
    let attempts = 0;
    client.on("state", ({ state }) => (attempts += Number(state === "waiting")));
    await until(() => attempts > 3);
    client.close();
    expect(warn.mock.calls).toEqual([
      [`starling: could not connect to ws://127.0.0.1:${closedPort}/: ECONNREFUSED`],
    ]);
    warn.mockRestore();
  });
});
