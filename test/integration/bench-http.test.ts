/** The bench's HTTP load: what it reports is what the server took, also of servers that close after each answer. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";
import type { FromHttpLoad, HttpLoad, HttpReport } from "../../bench/load/http-process.js";

const PROCESS = fileURLToPath(new URL("../../bench/load/http-process.ts", import.meta.url));
const CONNECTIONS = 3;
const REQUESTS = [1, 2, 3, 4].map((each) => ({ path: `/x?${each}`, body: `{"é":${each}}` }));
const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
});

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUps.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function serve(answer: (response: ServerResponse) => void) {
  const taken: { request: string; headers: IncomingHttpHeaders }[] = [];
  const count = { connections: 0, answered: 0 };
  const server = createServer((request: IncomingMessage, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      taken.push({ request: `${request.method} ${request.url} ${body}`, headers: request.headers });
      response.once("finish", () => count.answered++);
      answer(response);
    });
  });
  server.on("connection", () => count.connections++);
  const url = await listening(server);
  cleanUps.push(() => server.closeAllConnections());
  return { url, taken, count };
}

/** For a second, all of which is measured. */
async function load(url: string): Promise<HttpReport> {
  const child = fork(PROCESS, [], { execArgv: ["--import", "tsx"] });
  cleanUps.push(() => child.kill("SIGKILL"));
  const plan: HttpLoad = {
    url,
    headers: { "x-bench": "yes" },
    requests: REQUESTS,
    connections: CONNECTIONS,
    warmUpSeconds: 0,
    seconds: 1,
  };
  return new Promise((resolve, reject) => {
    child.once("exit", (code, signal) => reject(new Error(`the HTTP load ended with ${code ?? signal}`)));
    child.on("message", (message: FromHttpLoad) => {
      if (message.kind === "loaded") child.send(plan);
      else if (message.kind === "failed") reject(new Error(message.message));
      else if (message.kind === "done") resolve(message.report);
    });
  });
}

/** Each connection has one request under way at a time: those at the end were perhaps answered, and not counted. */
function expectAllCounted(reported: number, { answered }: { readonly answered: number }): void {
  expect(reported).toBeGreaterThan(0);
  expect(answered - reported).toBeGreaterThanOrEqual(0);
  expect(answered - reported).toBeLessThanOrEqual(CONNECTIONS);
}

/** Latencies of one connection follow on each other, so that they add up to at most the time. */
function expectPlausibleLatency({ latency, seconds }: HttpReport): void {
  const sumSeconds = (latency!.meanUs * latency!.count) / 1e6;
  expect(sumSeconds).toBeLessThan(1.1 * CONNECTIONS * seconds);
}

it("sends the requests in turn, on connections that it keeps", async () => {
  const { url, taken, count } = await serve((response) => {
    response.write("ab");
    setImmediate(() => response.end("cd"));
  });
  const report = await load(url);
  expectAllCounted(report.succeeded, count);
  expectPlausibleLatency(report);
  expect(report).toMatchObject({ refused: 0, errors: 0, latency: { count: report.succeeded } });
  expect(report.firstError).toBeUndefined();
  expect(count.connections).toBe(CONNECTIONS);
  expect(new Set(taken.map(({ request }) => request))).toEqual(
    new Set(REQUESTS.map(({ path, body }) => `POST ${path} ${body}`)),
  );
  expect(taken[0]!.headers).toMatchObject({ "x-bench": "yes", host: new URL(url).host });
});

it("opens another connection where the server closes after an answer, and that is no error", async () => {
  const { url, taken, count } = await serve((response) => {
    response.writeHead(200, { connection: "close" }).end("{}");
  });
  const report = await load(url);
  expectAllCounted(report.succeeded, count);
  expectPlausibleLatency(report);
  expect(report).toMatchObject({ refused: 0, errors: 0, latency: { count: report.succeeded } });
  expect(count.connections).toBeGreaterThanOrEqual(taken.length);
  expect(taken.length - report.succeeded).toBeLessThanOrEqual(CONNECTIONS);
});

it.each([
  [401, "no such key"],
  [200, '[{"error":"too many"}]'],
])("counts an answer %i %s as refused", async (status, body) => {
  const { url, count } = await serve((response) => response.writeHead(status).end(body));
  const report = await load(url);
  expectAllCounted(report.refused, count);
  expect(report).toMatchObject({ succeeded: 0, errors: 0, firstError: `${status} ${body}` });
});

it("tells of connections that end without an answer, and goes on", async () => {
  let requests = 0;
  const url = await listening(
    createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => {
        if (++requests <= CONNECTIONS) socket.destroy();
        else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      });
      cleanUps.push(() => socket.destroy());
    }),
  );
  const report = await load(url);
  expect(report).toMatchObject({ refused: 0, errors: CONNECTIONS });
  expect(report.firstError).toMatch(/closed|ECONNRESET/);
  expect(report.succeeded).toBeGreaterThan(0);
});
