/** Reading of request bodies, within a bound for one and a bound for all of them together. */

import { StarlingError } from "../core/errors.js";
import type { Exchange } from "./http-connection.js";

/** The bytes that all bodies of a listener may hold at one time. */
export class BodyBudget {
  readonly maxBytes: number;
  #heldBytes = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  has(bytes: number): boolean {
    return this.#heldBytes + bytes <= this.maxBytes;
  }

  /** @throws StarlingError overloaded */
  take(bytes: number): void {
    if (!this.has(bytes)) {
      throw new StarlingError(
        "overloaded",
        `memory limit of request bodies reached (${this.maxBytes} bytes): ${this.#heldBytes} are in use, ${bytes} more were requested`,
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
  /** Whether the client waits for 100 Continue before it sends the body. */
  readonly expects100: boolean;
}

/**
 * Counts what the body holds of the budget in `exchange`, whose end gives it back.
 * @throws StarlingError too_large, overloaded; bad_request where the connection ended before the body did
 */
export function readBody(
  exchange: Exchange,
  { declaredBytes, maxBytes, budget, expects100 }: BodyReading,
): Promise<Uint8Array> {
  if (declaredBytes === 0) return Promise.resolve(EMPTY);
  const { req, res } = exchange;
  return new Promise((resolve, reject) => {
    const take = (bytes: number): void => {
      if (exchange.heldBytes + bytes > maxBytes) {
        const size = declaredBytes === undefined ? `more than ${maxBytes}` : String(declaredBytes);
        throw new StarlingError("too_large", `the body has ${size} bytes, at most ${maxBytes} are allowed`);
      }
      budget.take(bytes);
      exchange.heldBytes += bytes;
    };
    // A throw here rejects.
    if (declaredBytes !== undefined) take(declaredBytes);
    if (expects100) res.writeContinue();

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
    exchange.cut = () =>
      reject(new StarlingError("bad_request", "the connection ended before the request's body did"));
    req.on("data", onData);
    req.on("end", () => {
      exchange.cut = undefined;
      resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    });
  });
}
