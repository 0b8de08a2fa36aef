/** HTTP byte by byte: what a test writes is sent as it is, and what comes back is read as it came. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface RawResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const DEADLINE_MS = 10_000;
const open = new Set<RawHttp>();

/** For afterEach: no connection outlives its test. */
export function closeRawHttp(): void {
  for (const connection of open) connection.destroy();
  open.clear();
}

export class RawHttp {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("error", () => undefined); // "close" follows
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        this.#ended = true;
        this.#wake();
      });
    }
    open.add(this);
  }

  static async to(url: string): Promise<RawHttp> {
    const { hostname, port } = new URL(url);
    // The test, not Node.js, says when this side is done.
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    await once(socket, "connect");
    return new RawHttp(socket);
  }

  /** Sends and reads one response. */
  static async ask(
    url: string,
    ...parts: (string | Uint8Array)[]
  ): Promise<RawResponse & { closed: boolean }> {
    const connection = await RawHttp.to(url);
    for (const part of parts) connection.send(part);
    const response = await connection.response();
    const closed = response.headers["connection"] === "close" && (await connection.closed());
    connection.destroy();
    return { ...response, closed };
  }

  send(bytes: string | Uint8Array): boolean {
    return this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** Resolves when the kernel has taken what was sent, or takes no more. */
  async flushed(): Promise<void> {
    const socket = this.#socket;
    if (!socket.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        socket.off("drain", settle).off("close", settle);
        resolve();
      };
      socket.on("drain", settle).on("close", settle);
    });
  }

  /** What came and was not read as a response. */
  get rest(): string {
    return this.#received.toString("latin1");
  }

  /** @param method  HEAD has no body behind its head */
  async response(method = "GET"): Promise<RawResponse> {
    const end = await this.#until("a response's head", () => {
      const at = this.#received.indexOf("\r\n\r\n");
      return at === -1 ? undefined : at + 4;
    });
    const [line = "", ...lines] = this.#received.toString("latin1", 0, end - 4).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1]);
    const headers = Object.fromEntries(
      lines.map((header) => {
        const colon = header.indexOf(":");
        return [header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim()] as const;
      }),
    );
    this.#received = this.#received.subarray(end);
    if (method === "HEAD" || status < 200) return { status, headers, body: "" };
    const length = Number(headers["content-length"] ?? 0);
    await this.#until(`${length} bytes of body`, () => this.#received.length >= length || undefined);
    const body = this.#received.toString("utf8", 0, length);
    this.#received = this.#received.subarray(length);
    return { status, headers, body };
  }

  /** Resolves when this text is among what came and was not read as a response. */
  async received(text: string): Promise<void> {
    await this.#until(text, () => this.#received.includes(text) || undefined);
  }

  /** Resolves with true when the other side has ended. */
  closed(deadlineMs = DEADLINE_MS): Promise<boolean> {
    return this.#until("the end of the connection", () => this.#ended || undefined, deadlineMs);
  }

  /** Sends no more; still reads. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    open.delete(this);
    this.#socket.destroy();
  }

  async #until<T>(what: string, ready: () => T | undefined, deadlineMs = DEADLINE_MS): Promise<T> {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      const result = ready();
      if (result !== undefined) return result;
      const leftMs = deadline - performance.now();
      const got = JSON.stringify(this.#received.toString("latin1", 0, 300));
      if (this.#ended) throw new Error(`the connection ended before ${what}; it has ${got}`);
      if (leftMs <= 0) throw new Error(`after ${deadlineMs} ms: not ${what}; it has ${got}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
