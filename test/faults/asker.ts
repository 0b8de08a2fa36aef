/** A connection by which a run asks a node, and that is no part of the load. */

import { once } from "node:events";
import { WebSocket } from "ws";
import { until } from "./clients.js";
import { tokenOf } from "./token.js";

export interface AskedFrame {
  readonly type: string;
  readonly [field: string]: unknown;
}

export class Asker {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: AskedFrame | undefined) => void>();
  /** What the node said without being asked, newest last. */
  readonly #told: AskedFrame[] = [];
  #nextId = 1;
  /** Of the connection, once it is closed. */
  closeCode: number | undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", (code) => {
      this.closeCode = code;
      for (const answer of this.#waiting.values()) answer(undefined);
      this.#waiting.clear();
    });
    socket.on("message", (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as AskedFrame;
      const answer = this.#waiting.get(frame["id"] as number);
      if (answer === undefined) return void this.#told.push(frame);
      this.#waiting.delete(frame["id"] as number);
      answer(frame);
    });
  }

  /** @throws Error where the node takes no connection */
  static async open(wsUrl: string, user: string, secret: string): Promise<Asker> {
    const token = await tokenOf(user, secret);
    const socket = new WebSocket(`${wsUrl}/?token=${token}`, ["starling.v1.json"]);
    const asker = new Asker(socket);
    await once(socket, "open");
    return asker;
  }

  /** @returns a reply or an error; undefined: the connection is closed */
  ask(command: {
    readonly action: string;
    readonly [field: string]: unknown;
  }): Promise<AskedFrame | undefined> {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.resolve(undefined);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.send(JSON.stringify({ ...command, id }));
    });
  }

  /** How much the node has said without being asked. */
  get told(): number {
    return this.#told.length;
  }

  /** Whether the node says this about the channel in time, after what it had said `before`. */
  hears(type: string, channel: string, before: number, deadlineMs: number): Promise<boolean> {
    return until(
      () => this.#told.slice(before).some((frame) => frame.type === type && frame["channel"] === channel),
      deadlineMs,
    );
  }

  close(): void {
    this.#socket.terminate();
  }
}
