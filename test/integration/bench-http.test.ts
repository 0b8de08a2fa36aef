/** One connection of the bench's HTTP load, on servers that keep connections and on such that do not. */

import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo, Server as TcpServer } from "node:net";
import { afterEach, expect, it } from "vitest";
import { HttpConnection } from "../../bench/load/http-connection.js";
import { eventually } from "../support/eventually.js";

const REQUEST = Buffer.from("POST /x HTTP/1.1\r\nHost: bench\r\nContent-Length: 2\r\n\r\nhi");
const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
});

async function listening(server: Server | TcpServer): Promise<URL> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUps.push(() => server.close());
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

async function serve(listener: RequestListener): Promise<{ url: URL; connections: () => number }> {
  const server = createServer(listener);
  let connections = 0;
  server.on("connection", () => connections++);
  const url = await listening(server);
  cleanUps.push(() => server.closeAllConnections());
  return { url, connections: () => connections };
}

function load(url: URL) {
  const answers: string[] = [];
  const errors: string[] = [];
  let sent = 0;
  const connection = new HttpConnection(url, () => (sent++, REQUEST), {
    onAnswer: (status, body, us) => {
      expect(us).toBeGreaterThan(0);
      answers.push(`${status} ${body}`);
    },
    onError: (reason) => errors.push(reason),
  });
  cleanUps.push(() => connection.close());
  return { answers, errors, sent: () => sent, connection };
}

it("sends one request after the other on one connection", async () => {
  const { url, connections } = await serve((_, response) => {
    // The body in two pieces.
    response.writeHead(200, { "content-length": "4" }).write("ab");
    setImmediate(() => response.end("é"));
  });
  const { answers, errors, sent, connection } = load(url);
  await eventually(() => expect(answers.length).toBeGreaterThan(20));
  connection.close();
  expect(new Set(answers)).toEqual(new Set(["200 abé"]));
  expect(sent() - answers.length).toBe(1);
  expect([errors, connections()]).toEqual([[], 1]);
});

it("reads to the last of an answer's chunks", async () => {
  const { url, connections } = await serve((_, response) => {
    response.write("ab");
    setImmediate(() => response.end("cd"));
  });
  const { answers, errors, connection } = load(url);
  await eventually(() => expect(answers.length).toBeGreaterThan(20));
  connection.close();
  expect(new Set(answers)).toEqual(new Set(["200 2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"]));
  expect([errors, connections()]).toEqual([[], 1]);
});

it("opens another where the server closes after an answer, and that is no error", async () => {
  const { url, connections } = await serve((_, response) => {
    const body = "{}";
    response.writeHead(401, { connection: "close", "content-length": String(body.length) }).end(body);
  });
  const { answers, errors, sent, connection } = load(url);
  await eventually(() => expect(answers.length).toBeGreaterThan(20));
  connection.close();
  expect(new Set(answers)).toEqual(new Set(["401 {}"]));
  expect(sent() - answers.length).toBe(1);
  expect(connections()).toBeGreaterThanOrEqual(answers.length);
  expect(errors).toEqual([]);
});

it("tells of answers that it cannot read and of connections that end, and goes on", async () => {
  let turn = 0;
  const url = await listening(
    createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => {
        if (++turn === 1) socket.destroy();
        else if (turn === 2) socket.write("HTTP/1.1 200 OK\r\n\r\n");
        else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      });
    }),
  );
  const { answers, errors } = load(url);
  await eventually(() => expect(answers.length).toBeGreaterThan(0));
  expect(errors).toEqual([
    "the server closed the connection without an answer",
    "an answer with neither Content-Length nor chunks: HTTP/1.1 200 OK",
  ]);
});
