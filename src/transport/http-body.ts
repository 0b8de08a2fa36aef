/** Reading of request bodies, within a bound for one and a bound for all of them together. */

import type { IncomingMessage } from "node:http";
import { StarlingError } from "../protocol/errors.js";

/** The bytes that all bodies of a listener may hold at one time. */
export class BodyBudget {
  readonly maxBytes: number;
  #heldBytes = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** @throws StarlingError overloaded */
  take(bytes: number): void {
    if (this.#heldBytes + bytes > this.maxBytes) {
      throw new StarlingError(
        "overloaded",
        `request bodies hold ${this.#heldBytes} bytes, ${bytes} more would exceed the limit of ${this.maxBytes}`,
      );
    }
    this.#heldBytes += bytes;
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}

const EMPTY = new Uint8Array();

export interface BodyReading {
  /** Content-Length; undefined: chunked. */
  readonly declaredBytes: number | undefined;
  readonly maxBytes: number;
  readonly budget: BodyBudget;
  /** Called once it is clear that the body is wanted. */
  readonly accepted: () => void;
  /** Called with what the body holds of the budget, each time that it grows; the caller gives it back. */
  readonly held: (bytes: number) => void;
}

/** @throws StarlingError too_large, overloaded; bad_request where the connection ended before the body did */
export function readBody(req: IncomingMessage, reading: BodyReading): Promise<Uint8Array> {
  const { declaredBytes, maxBytes, budget } = reading;
  if (declaredBytes === 0) return Promise.resolve(EMPTY);
  return new Promise((resolve, reject) => {
    let taken = 0;
    const take = (bytes: number): void => {
      if (taken + bytes > maxBytes) {
        const size = declaredBytes === undefined ? `more than ${maxBytes}` : String(declaredBytes);
        throw new StarlingError("too_large", `the body has ${size} bytes, at most ${maxBytes} are allowed`);
      }
      budget.take(bytes);
      taken += bytes;
      reading.held(bytes);
    };
    // A throw here rejects.
    if (declaredBytes !== undefined) take(declaredBytes);
    reading.accepted();

    const chunks: Buffer[] = [];
    const onData = (chunk: Buffer): void => {
      try {
        if (declaredBytes === undefined) take(chunk.length);
        chunks.push(chunk);
      } catch (error) {
        req.off("data", onData);
        chunks.length = 0;
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- take throws nothing else
        reject(error);
      }
    };
    const cut = (): void =>
      reject(new StarlingError("bad_request", "the connection ended before the request's body did"));
    req.on("data", onData);
    req.once("end", () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    req.once("error", cut);
    // Follows "end" too, where it changes nothing.
    req.once("close", cut);
  });
}
