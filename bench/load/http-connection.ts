import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { nowUs } from "./marker.js";

const RETRY_MS = 100;
const HEAD_END = Buffer.from("\r\n\r\n");
const LAST_CHUNK = "0\r\n\r\n";

export interface HttpEvents {
  onAnswer(status: number, body: string, us: number): void;
  onError(reason: string): void;
}

/**
 * One connection of the HTTP load, on a plain socket: the next request goes out when the last one was answered. Where
 * the server closes after an answer, as some always do, it is opened anew for the next request.
 */
export class HttpConnection {
  readonly #url: URL;
  readonly #next: () => Buffer;
  readonly #events: HttpEvents;
  #socket: Socket | undefined;
  #heard: Buffer | undefined;
  #sentUs = 0;
  #retry: NodeJS.Timeout | undefined;

  /** @param next  a whole request */
  constructor(url: URL, next: () => Buffer, events: HttpEvents) {
    this.#url = url;
    this.#next = next;
    this.#events = events;
    this.#open();
  }

  close(): void {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  #open(): void {
    const { hostname, port, protocol } = this.#url;
    const secure = protocol === "https:";
    const target = { host: hostname, port: Number(port || (secure ? 443 : 80)) };
    const socket = secure ? connectTls({ ...target, servername: hostname }) : connectTcp(target);
    let reason = "the server closed the connection without an answer";
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      if (socket === this.#socket) this.#read(chunk);
    });
    socket.once("error", (error: Error) => (reason = error.message));
    socket.once("close", () => {
      if (socket !== this.#socket) return;
      this.#events.onError(reason);
      this.#retry = setTimeout(() => this.#open(), RETRY_MS);
    });
    this.#socket = socket;
    this.#heard = undefined;
    this.#send();
  }

  #send(): void {
    this.#sentUs = nowUs();
    this.#socket!.write(this.#next());
  }

  #read(chunk: Buffer): void {
    const heard = this.#heard === undefined ? chunk : Buffer.concat([this.#heard, chunk]);
    this.#heard = heard;
    const headEnd = heard.indexOf(HEAD_END);
    if (headEnd === -1) return;
    const head = heard.toString("latin1", 0, headEnd);
    const bodyAt = headEnd + HEAD_END.length;
    const end = endOf(heard, head, bodyAt);
    if (end === undefined) {
      const what = "an answer with neither Content-Length nor chunks";
      this.#socket!.destroy(new Error(`${what}: ${head.split("\r\n", 1)[0]}`));
      return;
    }
    if (heard.length < end) return;
    this.#heard = undefined;
    this.#events.onAnswer(
      Number(head.slice(9, 12)),
      heard.toString("utf8", bodyAt, end),
      nowUs() - this.#sentUs,
    );
    if (this.#socket === undefined) return;
    if (/^connection: *close/im.test(head)) {
      this.close();
      this.#open();
    } else {
      this.#send();
    }
  }
}

/**
 * Where the answer ends, or will; undefined: only where the connection does. Chunks are not taken apart: one answer comes
 * at a time, so that it ends where what was heard ends in the last chunk.
 */
function endOf(heard: Buffer, head: string, bodyAt: number): number | undefined {
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length !== undefined) return bodyAt + Number(length);
  if (!/^transfer-encoding: *chunked/im.test(head)) return undefined;
  return heard.subarray(bodyAt).toString("latin1").endsWith(LAST_CHUNK) ? heard.length : Infinity;
}
