import { CLOSE_MESSAGE_BYTES_MAX } from "./limits.js";
import type { RefusalOnSocket } from "./protocol.js";
import type { Socket, SocketHandler } from "./transport.js";

/** A socket of a client that is not taken: it is told so, and closed. */
export class RefusedConnection implements SocketHandler {
  readonly #refusal: RefusalOnSocket;
  readonly #message: string;

  /** @param message  for people: it goes with the close, as far as that has room */
  constructor(refusal: RefusalOnSocket, message: string) {
    this.#refusal = refusal;
    this.#message = message;
  }

  opened(socket: Socket): void {
    const { frame, binary, code } = this.#refusal;
    socket.cork(() => socket.send(frame, binary));
    socket.end(code, closeMessage(this.#message));
  }

  message(): void {}
  control(): void {}
  drained(): void {}
  dropped(): void {}
  closed(): void {}
}

/** As many whole characters as a close frame carries. */
function closeMessage(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  let end = Math.min(bytes.length, CLOSE_MESSAGE_BYTES_MAX);
  while (end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
