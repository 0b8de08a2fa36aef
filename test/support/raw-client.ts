/** A bare WebSocket client: what it is sent it keeps, what it sends is the test's own. */

import type { IncomingMessage } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import { Packr } from "msgpackr";
import { WebSocket, type ClientOptions } from "ws";
import { DEADLINE_MS } from "./eventually.js";

export interface Frame {
  readonly type: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a frame is whatever came; tests look into it
  readonly [field: string]: any;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export type Matcher = string | ((frame: Frame) => boolean);

const packr = new Packr({ useRecords: false, variableMapSize: true });

export interface RawClientOptions extends ClientOptions {
  readonly subprotocol?: string | readonly string[];
  /** Appended to the node's URL: `/path?token=...`. */
  readonly path?: string;
}

const open = new Set<RawClient>();

/** For afterEach: no client outlives its test. */
export function closeClients(): void {
  for (const client of open) client.terminate();
  open.clear();
}

export class RawClient {
  /** Everything that came, in order. */
  readonly frames: Frame[] = [];
  /** The text frames among them as they came. */
  readonly texts: string[] = [];
  readonly subprotocol: string;
  closedWith: Closed | undefined;
  readonly #socket: WebSocket;
  readonly #unread: Frame[] = [];
  readonly #waiting = new Set<() => void>();
  #nextId = 1;

  private constructor(socket: WebSocket, early: readonly [Buffer, boolean][]) {
    this.#socket = socket;
    this.subprotocol = socket.protocol;
    const take = (data: Buffer, binary: boolean): void => {
      const frame = (binary ? packr.unpack(data) : JSON.parse(data.toString())) as Frame;
      this.frames.push(frame);
      if (!binary) this.texts.push(data.toString());
      this.#unread.push(frame);
      for (const wake of this.#waiting) wake();
    };
    for (const [data, binary] of early) take(data, binary);
    socket.on("message", take);
    socket.on("close", (code, reason) => {
      this.closedWith = { code, reason: reason.toString() };
      open.delete(this);
      for (const wake of this.#waiting) wake();
    });
    socket.on("error", () => undefined); // "close" follows
    open.add(this);
  }

  /** Resolves when the socket is open. @throws Error saying how the upgrade was refused */
  static open(url: string, options: RawClientOptions = {}): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = dial(url, options);
      // The welcome may come in one packet with the handshake's answer.
      const early: [Buffer, boolean][] = [];
      const keep = (data: Buffer, binary: boolean): void => void early.push([data, binary]);
      socket.on("message", keep);
      socket.once("error", reject);
      socket.once("open", () => {
        socket.off("message", keep);
        socket.off("error", reject);
        resolve(new RawClient(socket, early));
      });
    });
  }

  /** Opens, and takes the welcome. */
  static async welcomed(
    url: string,
    options: RawClientOptions = {},
  ): Promise<RawClient & { welcome: Frame }> {
    const client = await RawClient.open(url, options);
    const welcome = await client.next("welcome");
    return Object.assign(client, { welcome });
  }

  sendText(text: string): void {
    this.#socket.send(text, { binary: false });
  }

  sendBinary(bytes: Uint8Array): void {
    this.#socket.send(bytes, { binary: true });
  }

  /** In the codec that was chosen with the subprotocol. */
  send(frame: object): void {
    if (this.subprotocol === "starling.v1.msgpack") this.sendBinary(packr.pack(frame));
    else this.sendText(JSON.stringify(frame));
  }

  /** Sends a command with an id of its own. @returns the reply or error that answers it */
  ask(action: string, fields: object = {}, deadlineMs = DEADLINE_MS): Promise<Frame> {
    const id = this.#nextId++;
    this.send({ action, id, ...fields });
    return this.next(
      (frame) => frame["id"] === id && (frame.type === "reply" || frame.type === "error"),
      deadlineMs,
    );
  }

  /** As ask. @throws Error where the answer is an error */
  async do(action: string, fields: object = {}): Promise<Frame> {
    const answer = await this.ask(action, fields);
    if (answer.type === "error") throw new Error(`${action} failed: ${answer["code"]}: ${answer["message"]}`);
    return answer;
  }

  /** Takes the first frame that matches and was not taken yet; others stay for later. */
  next(matcher: Matcher, deadlineMs = DEADLINE_MS): Promise<Frame> {
    const matches = typeof matcher === "string" ? (frame: Frame) => frame.type === matcher : matcher;
    return this.#wait(
      () => {
        const at = this.#unread.findIndex(matches);
        return at === -1 ? undefined : this.#unread.splice(at, 1)[0];
      },
      deadlineMs,
      () => `no ${typeof matcher === "string" ? matcher : "such frame"}; it has ${describe(this.frames)}`,
    );
  }

  /** Resolves when it has had as many publications of the channel. @returns their contents, all of them */
  async contents(channel: string, count: number, deadlineMs = DEADLINE_MS): Promise<unknown[]> {
    const had = (): Frame[] => this.messages(channel);
    await this.#wait(
      () => (had().length >= count ? true : undefined),
      deadlineMs,
      () => `${had().length} of ${count} messages of ${channel}; it has ${describe(this.frames)}`,
    );
    return had().map((frame) => frame["content"] as unknown);
  }

  /** Publications that came up to now. */
  messages(channel: string): Frame[] {
    return this.frames.filter((frame) => frame.type === "message" && frame["channel"] === channel);
  }

  closed(deadlineMs = DEADLINE_MS): Promise<Closed> {
    return this.#wait(
      () => this.closedWith,
      deadlineMs,
      () => `it did not close; it has ${describe(this.frames)}`,
    );
  }

  #wait<T>(ready: () => T | undefined, deadlineMs: number, describeLack: () => string): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        act();
      };
      const check = (): void => {
        const result = ready();
        if (result !== undefined) settle(() => resolve(result));
        else if (this.closedWith !== undefined) {
          const { code, reason } = this.closedWith;
          settle(() => reject(new Error(`the socket closed with ${code} ${reason}: ${describeLack()}`)));
        }
      };
      const timer = setTimeout(
        () => settle(() => reject(new Error(`after ${deadlineMs} ms: ${describeLack()}`))),
        deadlineMs,
      );
      this.#waiting.add(check);
      check();
    });
  }

  close(code?: number): void {
    this.#socket.close(code);
  }

  /** Without a close frame. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Reads nothing from the kernel any more. */
  pause(): void {
    this.#tcp().pause();
  }

  resume(): void {
    this.#tcp().resume();
  }

  #tcp(): TcpSocket {
    return (this.#socket as unknown as { _socket: TcpSocket })._socket;
  }

  /** Told of each ping of the node. */
  onPing(listener: () => void): void {
    this.#socket.on("ping", listener);
  }
}

function dial(url: string, options: RawClientOptions): WebSocket {
  const { subprotocol, path = "", ...rest } = options;
  const protocols =
    subprotocol === undefined ? [] : typeof subprotocol === "string" ? [subprotocol] : [...subprotocol];
  return new WebSocket(url + path, protocols, {
    perMessageDeflate: false,
    handshakeTimeout: DEADLINE_MS,
    ...rest,
  });
}

/** How the node answers an upgrade that it does not take. @throws Error where it takes it */
export function refusal(
  url: string,
  options: RawClientOptions = {},
): Promise<{ status: number; headers: IncomingMessage["headers"]; body: string }> {
  return new Promise((resolve, reject) => {
    const socket = dial(url, options);
    socket.once("error", reject);
    socket.once("open", () => {
      socket.terminate();
      reject(new Error("the upgrade was taken"));
    });
    socket.once("unexpected-response", (_request, response) => {
      socket.off("error", reject);
      socket.on("error", () => undefined);
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("end", () => {
        socket.terminate();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      });
    });
  });
}

function describe(frames: readonly Frame[]): string {
  const last = frames.slice(-5).map((frame) => JSON.stringify(frame).slice(0, 200));
  return `${frames.length} frames, last ${last.join(" ")}`;
}
