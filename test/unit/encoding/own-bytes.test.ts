import { expect, it } from "vitest";
import { CODECS } from "../../../src/protocols/starling/codecs.js";
import { ownBytes } from "../../../src/encoding/own-bytes.js";

it("is UTF-8 and holds nothing but itself", () => {
  const bytes = ownBytes("gr\u00fc\u00df");
  expect(Buffer.from(bytes).toString()).toBe("gr\u00fc\u00df");
  expect(bytes.buffer.byteLength).toBe(bytes.length);
});

it.each(CODECS)("a channel's head as $name keeps it holds nothing but itself", (codec) => {
  const bytes = codec.head("room:".padEnd(100, "x"));
  expect(bytes.length).toBeGreaterThan(100);
  expect(bytes.buffer.byteLength).toBe(bytes.length);
});
