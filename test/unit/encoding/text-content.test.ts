import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { FrameWriter } from "../../../src/encoding/frame-writer.js";
import { DEPTH_MAX } from "../../../src/encoding/json-scan.js";
import { skipMsgpack } from "../../../src/encoding/msgpack-scan.js";
import {
  isJson,
  textToJson,
  writeTextAsJson,
  writeTextAsMsgpack,
} from "../../../src/encoding/text-content.js";
import { msgpackToJson } from "../../../src/encoding/transcode.js";

function written(write: (writer: FrameWriter, text: Uint8Array) => void, text: string): Buffer {
  const writer = new FrameWriter();
  write(writer, Buffer.from(text));
  return Buffer.from(writer.written());
}
const asJson = (text: string): string => written(writeTextAsJson, text).toString();
const asMsgpack = (text: string): Buffer => written(writeTextAsMsgpack, text);

describe("text as content of other encodings", () => {
  it.each([
    ['{"a":[1,"ü"]}', '{"a":[1,"ü"]}'],
    [" [1 ,2]\n", " [1 ,2]\n"],
    ["12345678901234567890123", "12345678901234567890123"],
    ['"already a string"', '"already a string"'],
    ["null", "null"],
    ["hello", '"hello"'],
    ["true story", '"true story"'],
    ["nil", '"nil"'],
    ["-", '"-"'],
    ["1 2", '"1 2"'],
    ["", '""'],
    [" ", '" "'],
    ['say "hi"\\\n', '"say \\"hi\\"\\\\\\n"'],
    ['{"a":1}}', '"{\\"a\\":1}}"'],
    ['{"a":1,"from":{"user":"admin"}', '"{\\"a\\":1,\\"from\\":{\\"user\\":\\"admin\\"}"'],
    ["\ufeff1", '"\ufeff1"'],
    ["\u0000", '"\\u0000"'],
  ])("%j is %s", (text, json) => {
    expect(asJson(text)).toBe(json);
    expect(Buffer.from(textToJson(Buffer.from(text))).toString()).toBe(json);
  });

  it("is a string where its JSON nests deeper than content may", () => {
    const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
    expect(asJson(nested(DEPTH_MAX))).toBe(nested(DEPTH_MAX));
    expect(asJson(nested(DEPTH_MAX + 1))).toBe(JSON.stringify(nested(DEPTH_MAX + 1)));
    expect(isJson(Buffer.from("[".repeat(1_000_000)))).toBe(false);
  });

  it("is one JSON value and one MessagePack value, which are the same, whatever the text", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.json().map((json) => json.slice(0, -1)),
    );
    fc.assert(
      fc.property(text, (given) => {
        // Clients send no half of a surrogate pair: it has no UTF-8.
        const sent = Buffer.from(given).toString();
        let value: unknown;
        try {
          value = JSON.parse(sent);
        } catch {
          value = sent;
        }
        expect(JSON.parse(asJson(sent))).toEqual(value);
        const packed = asMsgpack(sent);
        expect(skipMsgpack(packed, 0)).toBe(packed.length);
        expect(JSON.parse(msgpackToJson(packed))).toEqual(value);
      }),
    );
  });
});
