/** The client's half of RFC 6455, as far as a load generator needs it: no extensions, no fragments. */

export const OPCODE = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Of a client frame: two bytes, the length, the mask. */
export function headerBytes(payloadBytes: number): number {
  return (payloadBytes < 126 ? 2 : payloadBytes < 65_536 ? 4 : 10) + 4;
}

/** A masked frame. The mask is zero, which RFC 6455 allows: the payload stands in the frame as it is. */
export function clientFrame(opcode: number, payload: Buffer): Buffer {
  const header = headerBytes(payload.length);
  const frame = Buffer.alloc(header + payload.length);
  frame[0] = 0x80 | opcode;
  if (payload.length < 126) {
    frame[1] = 0x80 | payload.length;
  } else if (payload.length < 65_536) {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(payload.length, 2);
  } else {
    frame[1] = 0x80 | 127;
    frame.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  payload.copy(frame, header);
  return frame;
}

/** Called with each frame's payload as a range of the buffer, which is reused once the call returns. */
export type FrameHandler = (opcode: number, buffer: Buffer, start: number, end: number) => void;

/**
 * Hands on every whole frame.
 * @returns where the first incomplete frame begins, `end` where there is none
 * @throws Error for what no server of this bench sends: fragments and masked frames
 */
export function readFrames(buffer: Buffer, start: number, end: number, onFrame: FrameHandler): number {
  let at = start;
  while (end - at >= 2) {
    const first = buffer[at]!;
    let length = buffer[at + 1]!;
    if (first < 0x80 || length >= 0x80) throw new Error("the server sent a fragment or a masked frame");
    let header = 2;
    if (length === 126) {
      if (end - at < 4) break;
      length = (buffer[at + 2]! << 8) | buffer[at + 3]!;
      header = 4;
    } else if (length === 127) {
      if (end - at < 10) break;
      length = Number(buffer.readBigUInt64BE(at + 2));
      header = 10;
    }
    const from = at + header;
    const to = from + length;
    if (to > end) break;
    at = to;
    onFrame(first & 15, buffer, from, to);
  }
  return at;
}
