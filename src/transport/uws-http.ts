/** Plain HTTP on the clients' port: small answers to requests without a body. The server API is http.ts's. */

import { STATUS_CODES } from "node:http";
import type { HttpRequest as UwsRequest, HttpResponse as UwsResponse } from "uWebSockets.js";
import type { HttpHandler, HttpResponse } from "../core/transport.js";

/** @param keep  whether the connection is kept for another request */
export function serveHttp(
  res: UwsResponse,
  req: UwsRequest,
  handler: HttpHandler,
  keep: () => boolean,
): void {
  const { method, path, query, headers, fault } = readHead(req);
  let aborted = false;
  res.onAborted(() => {
    aborted = true;
  });
  const answer = (response: HttpResponse, close: boolean): void => {
    if (!aborted) write(res, method, response, close);
  };
  if (fault !== undefined) {
    // Answered now, what follows in the same packet would be served behind it, closing or not. While
    // an answer is owed uWebSockets.js closes the socket at the next request instead.
    setImmediate(() => answer(fault, true));
    return;
  }
  handler({
    ...{ method, path, query },
    header: (name) => headers.get(name),
    hasBody: false,
    readBody: () => Promise.resolve(new Uint8Array()),
  }).then(
    (response) => answer(response, !keep()),
    () => answer(plain(500, "internal error"), true),
  );
}

interface Head {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly fault: HttpResponse | undefined;
}

/** uWebSockets.js frees req when the handler returns: all of it is read now. */
function readHead(req: UwsRequest): Head {
  const method = req.getCaseSensitiveMethod();
  const headers = new Map<string, string>();
  let fault: HttpResponse | undefined;
  if (!/^[A-Z]+$/.test(method)) fault = plain(400, "the method must be uppercase");
  req.forEach((name, value) => {
    // uWebSockets.js takes lengths that are empty, given twice or contradict each other: two opinions
    // on where the next request starts are request smuggling, and nothing here takes a body.
    if (name === "transfer-encoding" || (name === "content-length" && value !== "0")) {
      fault = plain(400, `a request body is not accepted here: header ${name} is refused`);
    } else if (headers.has(name) && (name === "host" || name === "content-length")) {
      fault = plain(400, `the request has two ${name} headers`);
    }
    headers.set(name, value);
  });
  return { method, path: req.getUrl(), query: req.getQuery() ?? "", headers, fault };
}

function plain(status: number, message: string): HttpResponse {
  return { status, headers: { "content-type": "text/plain; charset=utf-8" }, body: `${message}\n` };
}

function write(res: UwsResponse, method: string, response: HttpResponse, close: boolean): void {
  res.cork(() => {
    res.writeStatus(`${response.status} ${STATUS_CODES[response.status] ?? ""}`);
    for (const [name, value] of Object.entries(response.headers)) res.writeHeader(name, value);
    if (method === "HEAD") res.endWithoutBody(Buffer.byteLength(response.body), close);
    else res.end(Buffer.from(response.body), close);
  });
}
