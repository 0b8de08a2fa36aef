import type { WebSocket } from "uWebSockets.js";
import type { SendResult, Socket, SocketHandler } from "../core/transport.js";

/** What ws.send answers, by its numbers. */
const SEND_RESULTS: readonly SendResult[] = ["buffered", "sent", "dropped"];

/** A uWebSockets.js socket that may outlive its connection: any call on a closed one would throw. */
export class UwsSocket implements Socket {
  readonly handler: SocketHandler;
  /** Whether the close under way is ours. */
  #closing = false;
  #ws: WebSocket<unknown> | undefined;

  constructor(handler: SocketHandler) {
    this.handler = handler;
  }

  get open(): boolean {
    return this.#ws !== undefined;
  }

  opened(ws: WebSocket<unknown>): void {
    this.#ws = ws;
    this.handler.opened(this);
  }

  closed(code: number): void {
    this.#ws = undefined;
    this.handler.closed(code, !this.#closing);
  }

  send(frame: Uint8Array, binary: boolean): SendResult {
    return this.#ws === undefined ? "dropped" : SEND_RESULTS[this.#ws.send(frame, binary)]!;
  }

  publish(topic: string, frame: Uint8Array, binary: boolean): void {
    this.#ws?.publish(topic, frame, binary);
  }

  subscribe(topic: string): void {
    this.#ws?.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    this.#ws?.unsubscribe(topic);
  }

  ping(): SendResult {
    return this.#ws === undefined ? "dropped" : SEND_RESULTS[this.#ws.ping()]!;
  }

  bufferedBytes(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }

  close(code: number, reason: string): void {
    this.#closing = true;
    this.#ws?.end(code, reason);
  }
}
