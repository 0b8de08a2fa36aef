/**
 * Node.js reads 64 kB from a socket at once and parses all of it in one turn of the loop, which thousands of
 * small requests would hold up; nothing public ends the parsing of a read.
 */

import type { Socket } from "node:net";

/** What is parsed in a turn: some forty of the smallest requests, and a body of 8 MiB in 8,192 turns. */
const SLICE_BYTES = 1024;

/** Has node:http, which reads from `socket` already, parse what comes in slices, one in each turn. */
export function sliceReads(socket: Socket): void {
  const push = socket.push.bind(socket);
  const read = socket._read.bind(socket);
  /** What was read and not handed on yet. */
  let rest: Buffer | undefined;
  let ended = false;
  const next = (): void => {
    if (socket.destroyed || rest === undefined) return;
    const slice = rest.subarray(0, SLICE_BYTES);
    rest = rest.length > SLICE_BYTES ? rest.subarray(SLICE_BYTES) : undefined;
    if (rest !== undefined) setImmediate(next);
    push(slice);
    if (rest === undefined && ended) push(null);
  };
  socket.push = (chunk: Buffer | null): boolean => {
    if (rest === undefined && (chunk === null || chunk.length <= SLICE_BYTES)) return push(chunk);
    if (chunk === null) ended = true;
    else {
      rest = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      next();
    }
    // Nothing more is read meanwhile.
    return false;
  };
  socket._read = (size) => {
    if (rest === undefined) read(size);
  };
  // With a listener of ours node:http leaves its way past these methods.
  socket.on("data", nothing);
}

function nothing(): void {
  // Only that it is there counts.
}
