/** Plain HTTP on the clients' port: small requests and answers. The server API is http.ts's. */

import type { HttpRequest as UwsRequest, HttpResponse as UwsResponse } from "uWebSockets.js";
import { StarlingError } from "../core/errors.js";
import type { HttpHandler, HttpRequest, HttpResponse } from "../core/transport.js";
import type { BodyBudget } from "./http-body.js";
import { STATUS_CODES } from "./node-http.js";

/** Of one request: ten events of 10 kB each fit, in JSON whose every character is escaped. */
const MAX_BODY_BYTES = 1024 * 1024;
/** A larger body is only held where its handler asks for it, in the turn that it is called in: for a stranger's there is no memory. */
const MAX_UNASKED_BYTES = 65_536;

export interface HttpServing {
  readonly handler: HttpHandler;
  /** Whether the connection is kept for another request. */
  readonly keep: () => boolean;
  /** For all bodies that are being read. */
  readonly bodies: BodyBudget;
}

/**
 * All requests of one read are parsed in one turn of the loop: half a megabyte holds 20,000 of them. So many are
 * answered within their turn, of all sockets; who pipelined more is closed by its next one, as an answer is owed.
 */
const ANSWERS_A_TURN = 16;
let answersLeft = ANSWERS_A_TURN;

function mayAnswerNow(): boolean {
  if (answersLeft === ANSWERS_A_TURN) setImmediate(() => (answersLeft = ANSWERS_A_TURN));
  return answersLeft-- > 0;
}

export function serveHttp(res: UwsResponse, req: UwsRequest, serving: HttpServing): void {
  const head = readHead(req);
  const exchange = new Exchange(res, head, serving);
  if (head.fault !== undefined) {
    exchange.answerLast(head.fault);
    return;
  }
  let response: Promise<HttpResponse>;
  try {
    response = serving.handler(exchange);
  } catch {
    // A handler that throws is one that rejects; and nobody is answered before this returns.
    response = Promise.reject(new Error("the handler threw"));
  }
  response.then(
    (answer) => exchange.answered(answer),
    () => exchange.failed(),
  );
}

/** A request and its answer. */
class Exchange implements HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly #headers: Headers;
  readonly #body: Body | undefined;
  readonly #res: UwsResponse;
  readonly #keep: () => boolean;
  #aborted = false;

  constructor(
    res: UwsResponse,
    { method, path, query, headers, bodyBytes, fault }: Head,
    { keep, bodies }: HttpServing,
  ) {
    this.method = method;
    this.path = path;
    this.query = query;
    this.#headers = headers;
    this.#body = fault === undefined && bodyBytes > 0 ? new Body(res, bodyBytes, bodies) : undefined;
    this.#res = res;
    this.#keep = keep;
    res.onAborted(() => {
      this.#aborted = true;
      this.#body?.abort();
    });
  }

  header(name: string): string | undefined {
    return valueOf(this.#headers, name);
  }

  get hasBody(): boolean {
    return this.#body !== undefined;
  }

  readBody(maxBytes: number): Promise<Uint8Array> {
    return this.#body?.read(maxBytes) ?? Promise.resolve(new Uint8Array());
  }

  answered(response: HttpResponse): void {
    this.#body?.release();
    // Who sends a body that nobody wants may be of another opinion where it ends.
    if (this.#body?.wasRead === false) this.answerLast(response);
    else if (mayAnswerNow()) this.#answer(response, !this.#keep());
    else setImmediate(() => this.#answer(response, !this.#keep()));
  }

  failed(): void {
    this.#body?.release();
    this.#answer(plain(500, "internal error"), true);
  }

  /**
   * Answered now, what follows in the same packet would be served behind it, closing or not. While
   * an answer is owed uWebSockets.js closes the socket at the next request instead.
   */
  answerLast(response: HttpResponse): void {
    setImmediate(() => this.#answer(response, true));
  }

  #answer(response: HttpResponse, close: boolean): void {
    if (this.#aborted) return;
    try {
      write(this.#res, this.method, response, close);
    } catch {
      // A header that is no text, for instance. Some of it may be written: no other answer could follow.
      this.#res.close();
    }
  }
}

/** A request's body. uWebSockets.js gives its pieces from now on, whether they are asked for yet or not. */
class Body {
  readonly #declaredBytes: number;
  readonly #budget: BodyBudget;
  #bytes: Buffer | undefined;
  #received = 0;
  #settle: (() => void) | undefined;
  #aborted = false;

  constructor(res: UwsResponse, declaredBytes: number, budget: BodyBudget) {
    this.#declaredBytes = declaredBytes;
    this.#budget = budget;
    if (declaredBytes <= MAX_UNASKED_BYTES && budget.has(declaredBytes)) this.#hold();
    res.onData((piece, isLast) => {
      if (this.#bytes !== undefined && this.#received + piece.byteLength <= declaredBytes) {
        this.#bytes.set(new Uint8Array(piece), this.#received);
      }
      this.#received += piece.byteLength;
      if (!isLast) return;
      this.complete = this.#received === declaredBytes;
      this.#settle?.();
    });
  }

  complete = false;
  /** Whether it was asked for. */
  wasRead = false;

  /** @throws StarlingError overloaded */
  #hold(): void {
    this.#budget.take(this.#declaredBytes);
    // Not cleared: it is handed out only once all of it has come.
    this.#bytes = Buffer.allocUnsafe(this.#declaredBytes);
  }

  /** @throws StarlingError too_large, overloaded; bad_request where the connection ended before the body did */
  read(maxBytes: number): Promise<Uint8Array> {
    this.wasRead = true;
    // A throw here rejects.
    return new Promise((resolve, reject) => {
      if (this.#declaredBytes > maxBytes) {
        throw new StarlingError(
          "too_large",
          `the body has ${this.#declaredBytes} bytes, at most ${maxBytes} are allowed`,
        );
      }
      if (this.#bytes === undefined) {
        if (this.#received > 0) throw new Error("the body was asked for when some of it was gone");
        this.#hold();
      }
      const bytes = this.#bytes!;
      this.#settle = () => {
        if (this.complete) resolve(bytes);
        else reject(new StarlingError("bad_request", "the connection ended before the request's body did"));
      };
      if (this.complete || this.#aborted) this.#settle();
    });
  }

  abort(): void {
    this.#aborted = true;
    this.#settle?.();
  }

  release(): void {
    if (this.#bytes !== undefined) this.#budget.release(this.#bytes.length);
  }
}

/** Names and values in turn. A map would cost more to fill than the look-ups do. */
type Headers = readonly string[];

/** The last one's, where there are several. */
function valueOf(headers: Headers, name: string): string | undefined {
  for (let at = headers.length - 2; at >= 0; at -= 2) if (headers[at] === name) return headers[at + 1];
  return undefined;
}

interface Head {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Headers;
  readonly bodyBytes: number;
  readonly fault: HttpResponse | undefined;
}

/** uWebSockets.js frees req when the handler returns: all of it is read now. */
function readHead(req: UwsRequest): Head {
  const method = req.getCaseSensitiveMethod();
  const headers: string[] = [];
  let fault: HttpResponse | undefined;
  if (!/^[A-Z]+$/.test(method)) fault = plain(400, "the method must be uppercase");
  req.forEach((name, value) => {
    // uWebSockets.js takes lengths that are empty, given twice or contradict each other: two opinions
    // on where the next request starts are request smuggling.
    if (name === "transfer-encoding") {
      fault = plain(400, "transfer-encoding is refused here: say how long the body is by content-length");
    } else if (name === "content-length" && !/^\d{1,9}$/.test(value)) {
      fault = plain(400, `content-length must be a number of bytes, not ${JSON.stringify(value)}`);
    } else if (name === "content-length" && Number(value) > MAX_BODY_BYTES) {
      fault = plain(413, `the body has ${value} bytes, at most ${MAX_BODY_BYTES} are allowed here`);
    } else if ((name === "host" || name === "content-length") && valueOf(headers, name) !== undefined) {
      fault = plain(400, `the request has two ${name} headers`);
    }
    headers.push(name, value);
  });
  const bodyBytes = Number(valueOf(headers, "content-length") ?? 0);
  return { method, path: req.getUrl(), query: req.getQuery() ?? "", headers, bodyBytes, fault };
}

function plain(status: number, message: string): HttpResponse {
  return { status, headers: { "content-type": "text/plain; charset=utf-8" }, body: `${message}\n` };
}

function write(res: UwsResponse, method: string, response: HttpResponse, close: boolean): void {
  res.cork(() => {
    const { status, headers, body } = response;
    // 200 is what it writes by itself.
    if (status !== 200) res.writeStatus(`${status} ${STATUS_CODES[status] ?? ""}`);
    for (const name in headers) res.writeHeader(name, headers[name]!);
    if (method === "HEAD") res.endWithoutBody(Buffer.byteLength(body), close);
    else res.end(typeof body === "string" ? Buffer.from(body) : body, close);
  });
}
