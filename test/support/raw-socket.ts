/** A WebSocket as bytes: for frames that no library would send, many in one write. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";

const DEADLINE_MS = 10_000;

export class RawSocket {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  ended = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => (this.#received = Buffer.concat([this.#received, chunk])));
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", () => (this.ended = true));
  }

  /** Resolves when the node has answered the upgrade. */
  static async open(url: string, subprotocol?: string): Promise<RawSocket> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    const raw = new RawSocket(socket);
    const offer = subprotocol === undefined ? "" : `Sec-WebSocket-Protocol: ${subprotocol}\r\n`;
    socket.write(
      `GET / HTTP/1.1\r\nHost: ${hostname}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${offer}\r\n`,
    );
    while (!raw.#received.includes("\r\n\r\n")) await once(socket, "data");
    if (!raw.#received.includes("HTTP/1.1 101")) throw new Error(`refused: ${raw.#received.toString()}`);
    raw.#received = raw.#received.subarray(raw.#received.indexOf("\r\n\r\n") + 4);
    return raw;
  }

  write(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Resolves when the node has ended it. */
  async closed(): Promise<void> {
    if (this.ended) return;
    await once(this.#socket, "close", { signal: AbortSignal.timeout(DEADLINE_MS) });
  }

  /** What the node sent up to now: text frames, pongs, and the code of its close frame. */
  read(): { texts: string[]; pongs: number; closeCode: number | undefined } {
    const texts: string[] = [];
    let pongs = 0;
    let closeCode: number | undefined;
    const bytes = this.#received;
    for (let at = 0; at + 2 <= bytes.length;) {
      const opcode = bytes[at]! & 0x0f;
      let length = bytes[at + 1]! & 0x7f;
      let start = at + 2;
      if (length === 126) {
        length = bytes.readUInt16BE(start);
        start += 2;
      } else if (length === 127) {
        length = Number(bytes.readBigUInt64BE(start));
        start += 8;
      }
      if (start + length > bytes.length) break;
      if (opcode === 1) texts.push(bytes.toString("utf8", start, start + length));
      else if (opcode === 8) closeCode = bytes.readUInt16BE(start);
      else if (opcode === 10) pongs++;
      at = start + length;
    }
    return { texts, pongs, closeCode };
  }
}

/** A frame of a client; `masked` false breaks RFC 6455 5.1. */
export function clientFrame(opcode: number, payload = Buffer.alloc(0), masked = true): Buffer {
  if (payload.length > 125) throw new Error("longer frames are for a library");
  const head = [0x80 | opcode, (masked ? 0x80 : 0) | payload.length];
  // The key 0 leaves the payload as it is.
  return Buffer.from([...head, ...(masked ? [0, 0, 0, 0] : []), ...payload]);
}
