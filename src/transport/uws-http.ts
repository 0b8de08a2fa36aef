/** Plain HTTP over uWebSockets.js: one request in, one response out. */

import { STATUS_CODES } from "node:http";
import type { HttpRequest as UwsRequest, HttpResponse as UwsResponse } from "uWebSockets.js";
import type { HttpHandler, HttpResponse } from "../core/transport.js";

export function serveHttp(
  res: UwsResponse,
  req: UwsRequest,
  handler: HttpHandler,
  maxBodyBytes: number,
): void {
  const head = readHead(req);
  let aborted = false;
  res.onAborted(() => {
    aborted = true;
  });
  const answer = (response: HttpResponse, close = false): void => {
    if (!aborted) write(res, head.method, response, close);
  };
  if (head.ambiguousLength) {
    // Two lengths mean two opinions on where the next request starts: request smuggling. Answered
    // now, what follows in the same packet would be served behind it, closing or not. While an
    // answer is owed uWebSockets.js closes the socket at the next request instead.
    setImmediate(() =>
      answer(plain(400, "more than one Content-Length, or both it and Transfer-Encoding"), true),
    );
    return;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  let refused = false;
  res.onData((chunk, last) => {
    if (refused) return;
    length += chunk.byteLength;
    if (length > maxBodyBytes) {
      refused = true;
      answer(plain(413, `the body is larger than ${maxBodyBytes} bytes`), true);
      return;
    }
    // A chunk is only valid now.
    if (chunk.byteLength > 0) chunks.push(Buffer.from(new Uint8Array(chunk)));
    if (!last) return;
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    handler({
      method: head.method,
      path: head.path,
      query: head.query,
      header: (name) => head.headers.get(name),
      body,
    }).then(answer, () => answer(plain(500, "internal error")));
  });
}

interface Head {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly ambiguousLength: boolean;
}

/** uWebSockets.js frees req when the handler returns: all of it is read now. */
function readHead(req: UwsRequest): Head {
  const headers = new Map<string, string>();
  let lengths = 0;
  req.forEach((name, value) => {
    if (name === "content-length" || name === "transfer-encoding") lengths++;
    headers.set(name, value);
  });
  return {
    method: req.getMethod().toUpperCase(),
    path: req.getUrl(),
    query: req.getQuery() ?? "",
    headers,
    ambiguousLength: lengths > 1,
  };
}

function plain(status: number, message: string): HttpResponse {
  return { status, headers: { "content-type": "text/plain; charset=utf-8" }, body: `${message}\n` };
}

function write(res: UwsResponse, method: string, response: HttpResponse, close: boolean): void {
  res.cork(() => {
    res.writeStatus(`${response.status} ${STATUS_CODES[response.status] ?? ""}`);
    for (const [name, value] of Object.entries(response.headers)) res.writeHeader(name, value);
    if (method === "HEAD") res.endWithoutBody(Buffer.byteLength(response.body), close);
    else res.end(response.body, close);
  });
}
