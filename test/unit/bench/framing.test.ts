import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OPCODE, clientFrame, headerBytes, readFrames } from "../../../bench/load/framing.js";
import {
  MARKER_BYTES,
  createPayload,
  findMarker,
  nowUs,
  readSequence,
  readStream,
  readTimeUs,
  writeMarker,
} from "../../../bench/load/marker.js";
import { protocolByName } from "../../../bench/protocols/index.js";
import { PROTOCOL_NAMES } from "../../../bench/types.js";

function serverFrame(payload: Buffer): Buffer {
  const frame = clientFrame(OPCODE.text, payload);
  const header = headerBytes(payload.length) - 4;
  frame[1]! &= 0x7f;
  return Buffer.concat([frame.subarray(0, header), payload]);
}

function frames(buffer: Buffer): { rest: number; payloads: string[] } {
  const payloads: string[] = [];
  const rest = readFrames(buffer, 0, buffer.length, (_, bytes, start, end) =>
    payloads.push(bytes.toString("latin1", start, end)),
  );
  return { rest, payloads };
}

describe("framing", () => {
  it("masks with zero, in the three forms of the length", () => {
    expect([...clientFrame(OPCODE.text, Buffer.from("hi"))]).toEqual([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
    expect([...clientFrame(OPCODE.binary, Buffer.alloc(126)).subarray(0, 8)]).toEqual([
      0x82, 0xfe, 0, 126, 0, 0, 0, 0,
    ]);
    const long = clientFrame(OPCODE.binary, Buffer.alloc(65_536));
    expect([...long.subarray(0, 14)]).toEqual([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    expect(long.length).toBe(65_536 + headerBytes(65_536));
  });

  it("reads frames however the network cut them", () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constant(65_536)), { maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }), (lengths, cuts) => {
        const wanted = lengths.map((length, index) => String.fromCharCode(97 + index).repeat(length));
        const stream = Buffer.concat(wanted.map((text) => serverFrame(Buffer.from(text))));
        const seen: string[] = [];
        let rest = Buffer.alloc(0);
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const step = cuts[turn % cuts.length]! * (turn > 50 ? 500 : 1);
          const chunk = Buffer.concat([rest, stream.subarray(at, at + step)]);
          at += step;
          const read = frames(chunk);
          seen.push(...read.payloads);
          rest = chunk.subarray(read.rest);
        }
        expect(seen).toEqual(wanted);
        expect(rest).toHaveLength(0);
      }),
      { numRuns: 50 },
    );
  });

  it("refuses what no server may send", () => {
    expect(() => frames(Buffer.from([0x81, 0x80, 0, 0, 0, 0]))).toThrow(/masked/);
    expect(() => frames(Buffer.from([0x01, 0x00]))).toThrow(/fragment/);
  });
});

describe("the marker", () => {
  it.each(PROTOCOL_NAMES)("is found, patched and read in a frame of %s", (name) => {
    const protocol = protocolByName(name);
    const payload = protocol.publish("bench-00001", createPayload(100, 4321), false);
    const at = findMarker(payload, 0, payload.length);
    expect(at).toBeGreaterThan(0);
    const now = nowUs();
    writeMarker(payload, at, 123_456_789, now);
    expect(readStream(payload, at)).toBe(4321);
    expect(readSequence(payload, at)).toBe(123_456_789);
    expect(readTimeUs(payload, at)).toBe(now);
  });

  it("is not found in part, nor beyond the frame", () => {
    const payload = Buffer.from(`{"a":"~b"}${createPayload(64, 1)}`);
    expect(findMarker(payload, 0, payload.length)).toBe(10);
    expect(findMarker(payload, 0, 10 + MARKER_BYTES - 1)).toBe(-1);
    expect(findMarker(payload, 11, payload.length)).toBe(-1);
  });

  it("needs room", () => {
    expect(() => createPayload(MARKER_BYTES - 1, 0)).toThrow(/31 bytes.*32/);
    expect(createPayload(MARKER_BYTES, 0)).toHaveLength(MARKER_BYTES);
  });
});
