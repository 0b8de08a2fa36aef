/**
 * A WebSocket server that speaks the native protocol by script: for what a real
 * node does not do on demand, such as losing a reply.
 */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Packr } from "msgpackr";
import { WebSocketServer, type WebSocket } from "ws";
import type { Clock } from "../../src/client/index.js";

export interface ReceivedCommand {
  readonly action: string;
  readonly id: number;
  readonly [field: string]: unknown;
}

/** What a command is answered with: fields of a reply, an `error`, or nothing at all. */
export type Answer = Record<string, unknown> | undefined;

export interface FakeServerOptions {
  /** Fields of the welcome; false: none is sent. */
  welcome?: Record<string, unknown> | false;
  /** undefined: no answer. Without one every command succeeds and nothing is resumed. */
  respond?: (command: ReceivedCommand, connection: FakeConnection) => Answer;
}

const packr = new Packr({ useRecords: false, variableMapSize: true });

export class FakeConnection {
  readonly number: number;
  readonly commands: ReceivedCommand[] = [];
  readonly frames: Buffer[] = [];
  readonly url: string;
  readonly subprotocol: string;
  closedWith: number | undefined;
  readonly #socket: WebSocket;

  constructor(number: number, socket: WebSocket, url: string, options: FakeServerOptions) {
    this.number = number;
    this.url = url;
    this.#socket = socket;
    this.subprotocol = socket.protocol;
    socket.on("close", (code) => (this.closedWith = code));
    socket.on("message", (data: Buffer, binary) => {
      this.frames.push(data);
      const command = (binary ? packr.unpack(data) : JSON.parse(data.toString())) as ReceivedCommand;
      this.commands.push(command);
      const answer = (options.respond ?? succeed)(command, this);
      if (answer === undefined) return;
      const type = "code" in answer ? "error" : "reply";
      this.send({ type, id: command.id, ...answer });
    });
    if (options.welcome !== false) this.welcome(options.welcome);
  }

  welcome(fields: object = {}): void {
    const { number } = this;
    this.send({
      type: "welcome",
      node: "fake",
      connection: `c${number}`,
      session: `s${number}`,
      resume: `s${number}.secret`,
      heartbeat: { intervalMs: 30_000, timeoutMs: 10_000 },
      limits: { frameBytes: 65_536, channels: 100, messagesPerSecond: 500, bytesPerSecond: 1_000_000 },
      authenticate: false,
      ...fields,
    });
  }

  send(frame: object): void {
    this.#socket.send(this.subprotocol.endsWith("msgpack") ? packr.pack(frame) : JSON.stringify(frame));
  }

  /** Messages of a channel that keeps history, one per offset; each one's content is its offset. */
  messages(channel: string, offsets: readonly number[], epoch = "e"): void {
    for (const offset of offsets) this.send({ type: "message", channel, content: offset, offset, epoch });
  }

  sendRaw(data: string | Buffer): void {
    this.#socket.send(data);
  }

  close(code: number, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** Says that it will close, as a node does, and closes. */
  closing(code: number, fields: object = {}): void {
    this.send({ type: "closing", code, reason: "scripted", reconnect: code < 4500, ...fields });
    this.close(code, "scripted");
  }

  /** Without a close frame, as a node that died. */
  terminate(): void {
    this.#socket.terminate();
  }

  actions(action: string): ReceivedCommand[] {
    return this.commands.filter((command) => command.action === action);
  }

  channels(action: string): unknown[] {
    return this.actions(action).map(({ channel }) => channel);
  }
}

/** The answers of a server that has nothing against anything. */
export function succeed(command: ReceivedCommand, connection: FakeConnection): Answer {
  const { number } = connection;
  switch (command.action) {
    case "connect":
      return { session: `s${number}`, resume: `s${number}.secret`, resumed: false, channels: [] };
    case "subscribe":
    case "unsubscribe":
      return { channel: command["channel"] };
    default:
      return {};
  }
}

export class FakeServer {
  readonly connections: FakeConnection[] = [];
  readonly url: string;
  readonly options: FakeServerOptions;
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer, options: FakeServerOptions) {
    this.#server = server;
    this.options = options;
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (socket, request) => {
      this.connections.push(
        new FakeConnection(this.connections.length + 1, socket, request.url ?? "", this.options),
      );
    });
  }

  /** `options` may be changed while it runs. */
  static async start(options: FakeServerOptions = {}): Promise<FakeServer> {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    return new FakeServer(server, options);
  }

  get last(): FakeConnection {
    const connection = this.connections.at(-1);
    if (connection === undefined) throw new Error("nobody connected yet");
    return connection;
  }

  async stop(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Time that stands still until it is moved. */
export class TestClock implements Clock {
  nowMs = 0;
  #timers = new Map<number, { atMs: number; run: () => void }>();
  #nextId = 1;

  now(): number {
    return this.nowMs;
  }

  setTimeout(run: () => void, delayMs: number): number {
    const id = this.#nextId++;
    this.#timers.set(id, { atMs: this.nowMs + delayMs, run });
    return id;
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Runs what falls due on the way, in order. */
  advance(byMs: number): void {
    const untilMs = this.nowMs + byMs;
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.atMs <= untilMs);
      due.sort(([, a], [, b]) => a.atMs - b.atMs);
      const next = due[0];
      if (next === undefined) break;
      this.#timers.delete(next[0]);
      this.nowMs = Math.max(this.nowMs, next[1].atMs);
      next[1].run();
    }
    this.nowMs = untilMs;
  }
}
