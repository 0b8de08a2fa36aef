/** HTTP by node:http, whose parser is strict about where a request ends. One request in, one response out. */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { HttpFault, HttpResponse, HttpService } from "../core/transport.js";
import { BodyBudget, readBody } from "./http-body.js";
import { sliceReads } from "./http-slices.js";
import { createServer } from "./node-http.js";
import { HttpConnection, WAITING_MAX, type Exchange } from "./http-connection.js";

export interface HttpListener {
  readonly port: number;
  /** Takes no new connections; requests that wait for their answer get it, within a second. */
  close(): Promise<void>;
}

/** Calls `take` for each connection that another process accepted for this one. */
export type ConnectionSource = (take: (socket: Socket) => void) => void;

export interface HttpOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Given: connections come from there, and nothing is listened on here. */
  readonly connections?: ConnectionSource | undefined;
  readonly service: HttpService;
  /** How long a connection may be idle between requests. */
  readonly keepAliveMs: number;
  /** The limit of all bodies together that are being read or handled. */
  readonly maxBodiesBytes: number;
  readonly maxSockets: number;
  /** A socket was closed as it was accepted: there are `maxSockets`. */
  readonly refused: () => void;
}

const MAX_HEADER_LINES = 100;
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
/** From a request's first byte to its last: 8 MiB at 1.2 Mbit/s. */
const REQUEST_TIMEOUT_MS = 60_000;
const TIMEOUT_CHECK_MS = 2_000;
/** How long close() waits for answers. */
const CLOSE_GRACE_MS = 1_000;
/** A body that nobody wants is read up to this size to keep the connection; beyond, it is closed. */
const DISCARD_BYTES = 64 * 1024;

interface Opened {
  readonly connection: HttpConnection;
  readonly exchange: Exchange;
}

/** @throws Error naming host and port, when the port is taken */
export async function listenHttp(options: HttpOptions): Promise<HttpListener> {
  const { service, host } = options;
  const budget = new BodyBudget(options.maxBodiesBytes);
  const connections = new WeakMap<Duplex, HttpConnection>();
  const connectionOf = (socket: Duplex): HttpConnection => {
    let connection = connections.get(socket);
    if (connection === undefined) connections.set(socket, (connection = new HttpConnection(socket)));
    return connection;
  };
  const server = createServer({
    keepAliveTimeout: options.keepAliveMs,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    // HTTP/1.1 asks for one, health checks leave it out, and nothing here depends on it.
    requireHostHeader: false,
  });
  // Node.js drops what is over its own limit without a word: all lines are counted in faultOf.
  server.maxHeadersCount = 0;

  let sockets = 0;
  server.on("connection", (socket) => {
    socket.once("close", () => sockets--);
    if (++sockets > options.maxSockets) {
      options.refused();
      socket.destroy();
      return;
    }
    sliceReads(socket);
  });

  /** Requests that wait for their answer. */
  let owed = 0;
  let idle: (() => void) | undefined;

  const over = ({ heldBytes }: Exchange): void => {
    budget.release(heldBytes);
    if (--owed === 0) idle?.();
  };

  function open(req: IncomingMessage, res: ServerResponse): Opened | undefined {
    const connection = connectionOf(req.socket);
    // Nothing is served behind an answer that says "connection: close".
    if (connection.closing) {
      connection.ignore();
      return undefined;
    }
    if (connection.full) {
      const message = `limit of pending requests of this connection reached (${WAITING_MAX}): open another connection, or wait`;
      connection.closeWith(service.refuse("overloaded", message));
      return undefined;
    }
    owed++;
    const exchange: Exchange = { req, res, heldBytes: 0, cut: undefined, over };
    connection.opened(exchange);
    return { connection, exchange };
  }

  function serve(req: IncomingMessage, res: ServerResponse, expects100: boolean): void {
    const opened = open(req, res);
    if (opened === undefined) return;
    const { connection, exchange } = opened;
    const fault = faultOf(req);
    if (fault !== undefined) {
      connection.closeWith(service.refuse(...fault), exchange);
      return;
    }
    const length = req.headers["content-length"];
    const chunked = req.headers["transfer-encoding"] !== undefined;
    const declaredBytes = chunked ? undefined : Number(length ?? 0);
    const { path, query } = splitTarget(req.url!);
    service
      .handle({
        method: req.method!,
        path,
        query,
        header(name) {
          const value = req.headers[name];
          return typeof value === "string" || value === undefined ? value : value.join(", ");
        },
        hasBody: declaredBytes !== 0,
        readBody: (maxBytes) => readBody(exchange, { declaredBytes, maxBytes, budget, expects100 }),
      })
      .then(
        (response) => {
          // The client is gone, or was told what is wrong with its body.
          if (!connection.owes(exchange)) return;
          const discards = !expects100 && declaredBytes !== undefined && declaredBytes <= DISCARD_BYTES;
          if (req.complete || discards) write(res, response, idle !== undefined);
          else connection.closeWith(response, exchange);
        },
        (error: unknown) => req.socket.destroy(error as Error),
      );
  }

  server.on("request", (req, res) => serve(req, res, false));
  server.on("checkContinue", (req, res) => serve(req, res, true));
  server.on("checkExpectation", (req: IncomingMessage, res: ServerResponse) => {
    const message = 'unsupported expectation; supported: "100-continue"';
    const opened = open(req, res);
    opened?.connection.closeWith(service.refuse("expectation_failed", message), opened.exchange);
  });
  server.on("connect", (_req: IncomingMessage, socket: Duplex) => {
    connectionOf(socket).closeWith(
      service.refuse("bad_request", "this server is not a proxy: CONNECT is refused"),
    );
  });
  server.on("clientError", (error: NodeJS.ErrnoException & { reason?: string }, socket: Duplex) => {
    const connection = connectionOf(socket);
    if (connection.closing) return;
    if (!socket.writable || error.code === "ECONNRESET" || error.code === "EPIPE") socket.destroy();
    else connection.closeWith(service.refuse(...parserFault(error)));
  });

  const port = await listen(server, options);
  return { port, close: () => close(server) };

  async function close(server: Server): Promise<void> {
    const answered = new Promise<void>((resolve) => (idle = resolve));
    server.close();
    server.closeIdleConnections();
    if (owed > 0) {
      const timer = setTimeout(idle!, CLOSE_GRACE_MS);
      await answered;
      clearTimeout(timer);
    }
    server.closeAllConnections();
  }

  async function listen(server: Server, { port, connections }: HttpOptions): Promise<number> {
    if (connections !== undefined) {
      // Node.js starts its time-outs on this event.
      server.emit("listening");
      connections((socket) => {
        // As node:http sets those that it accepts itself.
        socket.allowHalfOpen = true;
        socket.setNoDelay(true);
        server.emit("connection", socket);
      });
      return port;
    }
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) =>
        reject(new Error(`cannot listen on ${host}:${port} (apiHost, apiPort): ${cause.message}`, { cause })),
      );
      server.listen({ host, port, exclusive: true }, resolve);
    });
    return (server.address() as AddressInfo).port;
  }
}

/** What llhttp lets through and is refused all the same. */
function faultOf({ rawHeaders, httpVersion }: IncomingMessage): [HttpFault, string] | undefined {
  if (httpVersion !== "1.1" && httpVersion !== "1.0") {
    return ["bad_request", `HTTP/${httpVersion} is not supported; supported: HTTP/1.1, HTTP/1.0`];
  }
  const lines = rawHeaders.length / 2;
  if (lines > MAX_HEADER_LINES) {
    return [
      "headers_too_large",
      `the request has ${lines} header lines, at most ${MAX_HEADER_LINES} are allowed`,
    ];
  }
  let hosts = 0;
  let codings = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === 4) {
      if (name.toLowerCase() === "host") hosts++;
    } else if (name.length === 17 && name.toLowerCase() === "transfer-encoding") {
      codings++;
      if (rawHeaders[i + 1]!.toLowerCase() !== "chunked") {
        return [
          "bad_request",
          `transfer-encoding must be "chunked", not ${JSON.stringify(rawHeaders[i + 1])}`,
        ];
      }
    }
  }
  if (codings > 1) return ["bad_request", `the request has ${codings} transfer-encoding headers`];
  if (hosts > 1) return ["bad_request", `the request has ${hosts} host headers`];
  return undefined;
}

function parserFault(error: NodeJS.ErrnoException & { reason?: string }): [HttpFault, string] {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return [
        "headers_too_large",
        `the request head is larger than ${MAX_HEADER_BYTES} bytes, which is the limit`,
      ];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [
        "request_timeout",
        `the request head did not arrive within ${HEADERS_TIMEOUT_MS} ms, or the whole request within ${REQUEST_TIMEOUT_MS} ms`,
      ];
    default:
      return ["bad_request", `this is not a valid HTTP request: ${error.reason ?? error.message}`];
  }
}

/** Also of the absolute form, which RFC 9112 3.2.2 asks servers to take. */
function splitTarget(target: string): { path: string; query: string } {
  const local = target.startsWith("/") ? target : target.replace(/^https?:\/\/[^/?]*/i, "");
  const mark = local.indexOf("?");
  const path = mark === -1 ? local : local.slice(0, mark);
  return { path: path === "" ? "/" : path, query: mark === -1 ? "" : local.slice(mark + 1) };
}

function write(res: ServerResponse, { status, headers, body }: HttpResponse, last: boolean): void {
  const lines: string[] = [];
  if (last) lines.push("connection", "close");
  for (const name in headers) lines.push(name, headers[name]!);
  lines.push("content-length", String(Buffer.byteLength(body)));
  res.writeHead(status, lines);
  res.end(body);
}
