/** What is owed on one HTTP connection, and how it is closed so that its last answer arrives. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { HttpResponse } from "../core/transport.js";
import { STATUS_CODES } from "./node-http.js";

/** A request, from its head to the end of its answer or of its connection. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** What its body holds of the budget for all bodies. */
  heldBytes: number;
  /** Ends the reading of its body, where that is under way. */
  cut: (() => void) | undefined;
  /** Called once, when it is over. */
  readonly over: (exchange: Exchange) => void;
}

/** Most clients read the answer once they have sent all: so much is thrown away before the connection is cut. */
const LINGER_MS = 5_000;
const LINGER_BYTES = 16 * 1024 * 1024;
/** Requests that may wait for their answers. */
export const WAITING_MAX = 32;
/** Requests behind the last answer: what is on its way when a client pipelines a little too much. */
const IGNORED_MAX = 256;

export class HttpConnection {
  readonly #socket: Duplex;
  /** Requests that wait for their answer, in order. */
  readonly #open: Exchange[] = [];
  #closing = false;
  /** Requests that came behind its last answer. */
  #ignored = 0;
  #refused: Exchange | undefined;

  constructor(socket: Duplex) {
    this.#socket = socket;
    // A response that waits behind another is not told that its connection ended.
    socket.once("close", () => {
      for (const exchange of this.#open.splice(0)) {
        exchange.cut?.();
        exchange.over(exchange);
      }
    });
  }

  /** Its last answer is decided on: what comes now is none of ours. */
  get closing(): boolean {
    return this.#closing;
  }

  get full(): boolean {
    return this.#open.length >= WAITING_MAX;
  }

  /** A request came behind the last answer: not many of them are read to let that answer arrive. */
  ignore(): void {
    if (++this.#ignored > IGNORED_MAX) this.#socket.destroy();
  }

  /** Whether the answer to `exchange` is still to come. */
  owes(exchange: Exchange): boolean {
    return exchange !== this.#refused && this.#open.includes(exchange);
  }

  opened(exchange: Exchange): void {
    this.#open.push(exchange);
    exchange.res.once("close", () => {
      const index = this.#open.indexOf(exchange);
      if (index === -1) return;
      this.#open.splice(index, 1);
      exchange.over(exchange);
    });
  }

  /**
   * Answers `exchange` and closes the connection behind it.
   * @param exchange  undefined: what came last is no request; its answer follows those that are owed
   */
  closeWith(response: HttpResponse, exchange?: Exchange): void {
    if (this.#closing) return;
    this.#closing = true;
    // What is wrong within a body is the answer to that body's request.
    const last = this.#open.at(-1);
    const answered = exchange ?? (last !== undefined && !last.req.complete ? last : undefined);
    this.#refused = answered;
    const index = answered === undefined ? this.#open.length : this.#open.indexOf(answered);
    const before = this.#open[index - 1];
    const head = answered?.req.method === "HEAD";
    const send = (): void => this.#end(rawResponse(response, head), answered?.req);
    if (before === undefined) send();
    else before.res.once("close", send);
  }

  /**
   * Half closed first: closed at once while the client still sends, the kernel would reset the
   * connection, and the client would lose the answer.
   */
  #end(bytes: Buffer, unread: IncomingMessage | undefined): void {
    const socket = this.#socket;
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    socket.end(bytes);
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once("close", () => clearTimeout(timer));
    let discarded = 0;
    unread?.on("data", (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded > LINGER_BYTES) socket.destroy();
    });
    unread?.resume();
  }
}

function rawResponse({ status, headers, body }: HttpResponse, head: boolean): Buffer {
  const content = Buffer.from(body as string);
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${content.length}`,
    "connection: close",
  ];
  const top = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return head ? top : Buffer.concat([top, content]);
}
